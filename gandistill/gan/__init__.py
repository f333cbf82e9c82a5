"""The conditional WGAN-GP that replaces a corpus: generator, critic, losses, training, sampling."""
