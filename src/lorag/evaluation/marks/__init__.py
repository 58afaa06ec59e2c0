"""Answers of a run marked by people: which are shown, where marks are kept, and what they say of metric and verdict."""
