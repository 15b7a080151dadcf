"""What is not a step: reading back, explaining, showing."""
