"""A comparison for people (Markdown, HTML) and for machines (JSON). Nothing here computes a result."""
