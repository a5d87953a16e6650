"""Evaluations: drawn, scored, compared, reported."""
