"""Files become documents, documents become chunks.

``load`` reads a folder or a file with the ``parsers``, one for each kind of file; ``pages`` finds columns and tables
where a file holds only the places of letters; ``chunking`` cuts a document at its own structure; ``markdown_structure``
finds headings and tables, which are Markdown whatever format they came from. Nothing here embeds or stores.
"""
