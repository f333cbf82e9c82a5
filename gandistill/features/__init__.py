"""The feature set, and what makes one: log-Mel spectrograms and self-supervised upstreams."""
