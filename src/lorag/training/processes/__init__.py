"""Training on several processes: weights in parts, and what to do when one of them ends."""
