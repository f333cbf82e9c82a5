"""Downstream models: from frames of features to an emotion; their training; banks of frozen ones."""

VERSION = 2
"""Of the code in this room that decides results: when it is raised, results that tables keep are computed again."""
