"""Pages of which only the places of letters and lines are known: in which order they read, and where tables are."""
