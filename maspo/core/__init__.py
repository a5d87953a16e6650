"""The pure part: tensors in, tensors out, torch and nothing else."""
