"""Lorag."""
