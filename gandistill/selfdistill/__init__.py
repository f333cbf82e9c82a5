"""Self-distillation: one fine-tuned wav2vec 2.0, HuBERT or WavLM that can answer after some of its layers."""
