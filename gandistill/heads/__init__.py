"""Downstream models: from frames of features to an emotion; their training; banks of frozen ones."""
