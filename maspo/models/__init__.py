"""Models: where they come from and how they are loaded."""

from pathlib import Path

EMBEDDED = Path(__file__).parent / "embedded"
"""Folder of the small language model that comes with the package, in Hugging Face format."""
