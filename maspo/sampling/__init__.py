"""Completions of problems, drawn with transformers or vLLM behind one interface."""

from maspo.sampling.interface import Row, Sample, Sampler, Settings, draw

__all__ = ["Row", "Sample", "Sampler", "Settings", "draw"]
