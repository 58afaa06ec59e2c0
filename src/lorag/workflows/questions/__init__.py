"""Test questions made from documents for those who have none, and any test questions checked."""
