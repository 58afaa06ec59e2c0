"""Chunks become an index, questions become hits.

``encoders`` turn texts into vectors and read question and passage together; ``backends`` store chunks and the manifest
of what is current, in a folder or in PostgreSQL; ``filters`` choose documents; ``ranking`` fuses what two searches
found into one list; ``second_search`` finds the other document for questions that need two; ``knowledge`` keeps an
index in step with documents and searches it.
"""
