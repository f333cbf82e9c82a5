"""Trajectory matching: a distilled set on which a student's weights move as a teacher's did on the whole corpus."""

VERSION = 2
"""Of the code in this room that decides results: when it is raised, results that tables keep are computed again."""
