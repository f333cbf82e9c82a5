"""The three papers' tables on any corpus, by plans: rows of trials, kept in a store, done by jobs."""
