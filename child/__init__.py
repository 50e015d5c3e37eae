"""What runs in an isolated model's process, and both ends of the channel to it: numpy alone, Python 3.9 and later."""
