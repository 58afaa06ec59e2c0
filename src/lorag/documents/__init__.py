"""Files become documents, documents become chunks.

``load`` reads a folder, a file or a JSONL file; ``chunking`` cuts a document at its own structure; ``markdown`` finds
headings. Nothing here embeds or stores. PDF and office formats are not read yet.
"""
