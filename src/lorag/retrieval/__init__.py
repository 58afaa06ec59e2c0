"""Chunks become an index, questions become hits.

``embedding`` turns texts into vectors, ``stores`` keep and search chunks, ``ranking`` makes one list of what two
searches found, ``reranking`` reads question and passage together, and ``knowledge`` holds them together with the
manifest of what is current. Approximate search is not here yet: dense search is exact.
"""
