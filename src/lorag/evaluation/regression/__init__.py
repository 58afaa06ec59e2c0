"""A comparison against an earlier run, and what of it breaks a build."""
