"""What a distilled set must beat: real subsets and closed-form generators."""
