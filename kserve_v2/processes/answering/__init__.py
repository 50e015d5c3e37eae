"""In the home: requests that workers hand over."""
