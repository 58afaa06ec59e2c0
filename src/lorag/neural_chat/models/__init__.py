"""Loading a model and asking it with a prompt of one's own."""
