"""Chunks become an index, questions become hits.

``embedding`` turns texts into vectors and ``cache`` keeps them, ``stores`` keep and search chunks, ``ranking`` makes
one list of what two searches found, ``reranking`` reads question and passage together. An index is a store and the
manifest of what is current: ``folder`` and ``postgres`` are its two kinds, ``places`` tells them apart, and
``knowledge`` keeps one in step with documents and searches it.
"""
