"""Completions of problems, drawn with transformers or vLLM behind one interface."""

from maspo.sampling.interface import Sample, SampleKey, Sampler, Settings, draw

__all__ = ["Sample", "SampleKey", "Sampler", "Settings", "draw"]
