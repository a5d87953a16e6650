"""Models: where they come from, whether they are whole, and how they are saved."""

from maspo.models.generation import save_model
from maspo.models.load import load_model
from maspo.models.source import EMBEDDED

__all__ = ["EMBEDDED", "load_model", "save_model"]
