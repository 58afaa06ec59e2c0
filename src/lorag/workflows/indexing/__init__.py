"""The steps of indexing that other machines can do."""
