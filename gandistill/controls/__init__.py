"""What a distilled set must beat: real subsets and closed-form generators."""

VERSION = 2
"""Of the code in this room that decides results: when it is raised, results that tables keep are computed again."""
