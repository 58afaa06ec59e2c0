"""Scores of answers: metrics, the declared style, and how well a model reads the gold context."""
