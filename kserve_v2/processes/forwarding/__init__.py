"""In a worker: requests that the home answers."""
