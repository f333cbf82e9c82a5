"""Judging: predictions on real speech, significance, reports."""
