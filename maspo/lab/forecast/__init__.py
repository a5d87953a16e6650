"""What a run will be asked and what it will take, found without its model and without its user's code."""
