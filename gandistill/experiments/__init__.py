"""The three papers' tables on any corpus, by plans: rows of trials, kept in a store, done by jobs."""

VERSION = 1
"""Of what trials compute, and of the modules below all rooms: see ``tests/test_versions.py``."""
