"""Readers that turn a corpus on disk into one manifest, its splits, and its audio."""
