"""Reinforcement fine-tuning of language models against your own graders, on your own machine."""

__version__ = "0.1.0"
