"""Judging: predictions on real speech, significance, reports."""

VERSION = 1
"""Of the code in this room that decides results: when it is raised, results that tables keep are computed again."""
