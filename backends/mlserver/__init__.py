"""MLServer's models, served as they are: classes of `MLModel`, which find a `mlserver` of ours in their process."""
