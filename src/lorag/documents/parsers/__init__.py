"""One file a family of formats: bytes in, Markdown-like text out.

Every parser takes the path, for its messages, and the bytes, and writes nothing anywhere. What it cannot read it says
with ``DataError``; what a damaged file makes a library raise is left to ``load``, for which a file is a job of its
own.
"""
