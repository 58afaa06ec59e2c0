"""Scores of search: rankings, the relevance threshold, and which settings to keep."""
