"""A race: objectives on equal terms, and what may be said of the outcome."""
