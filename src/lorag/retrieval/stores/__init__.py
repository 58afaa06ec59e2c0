"""Where chunks and their vectors live: one module for each way of storing them, all of them a ``Store``."""
