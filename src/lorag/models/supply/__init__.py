"""Where the catalogue's files come from, and the list of them."""
