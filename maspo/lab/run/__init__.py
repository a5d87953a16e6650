"""A training run: carried out, resumed, written down, reported."""
