"""Bridges to training frameworks; each is imported only inside its own folder."""
