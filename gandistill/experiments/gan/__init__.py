"""The GAN paper's tables 1 to 4."""
