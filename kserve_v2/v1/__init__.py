"""The v1 protocol of TF Serving and KServe over REST."""
