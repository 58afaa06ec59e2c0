"""Models that encode text for retrieval: embedders, cross-encoders, and a cache of their vectors."""
