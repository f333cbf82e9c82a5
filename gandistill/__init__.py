"""gandistill: distil a labelled emotional-speech corpus into a small generator that replaces it."""

__version__ = "0.1.0"
