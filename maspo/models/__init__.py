"""Models: where they come from and how they are loaded."""

from maspo.models.load import EMBEDDED, load_model

__all__ = ["EMBEDDED", "load_model"]
