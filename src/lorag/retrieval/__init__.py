"""Chunks become an index, questions become hits.

``embedding`` turns texts into vectors, ``stores`` keep and search chunks, ``ranking`` fuses what two searches found,
and ``knowledge`` holds them together with the manifest of what is current. Approximate search and reranking are not
here yet: dense search is exact.
"""
