"""The steps of indexing and comparing that the machines of a Ray cluster can do."""
