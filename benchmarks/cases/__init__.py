"""What is measured, case by case."""
