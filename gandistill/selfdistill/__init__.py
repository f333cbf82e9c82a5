"""Self-distillation: one fine-tuned wav2vec 2.0, HuBERT, WavLM or Whisper that can answer after some of its layers."""

VERSION = 2
"""Of the code in this room that decides results: when it is raised, results that tables keep are computed again."""
