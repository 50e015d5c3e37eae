"""What is on disk: repositories, the directories of models, and the files beside a model's versions."""
