"""The conditional WGAN-GP that replaces a corpus: generator, critic, losses, training, sampling."""

VERSION = 3
"""Of the code in this room that decides results: when it is raised, results that tables keep are computed again."""
