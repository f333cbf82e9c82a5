"""Trajectory matching: a distilled set on which a student's weights move as a teacher's did on the whole corpus."""
