"""Where models come from: what is not a local folder of models is staged as one."""
