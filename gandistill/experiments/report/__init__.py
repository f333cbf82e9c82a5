"""A page to look at: what was distilled, how like the real it is, what it is worth, what tables say."""
