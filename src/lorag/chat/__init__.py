"""A question becomes a prompt, a prompt becomes an answer. Knows models and retrievers by their seams only."""
