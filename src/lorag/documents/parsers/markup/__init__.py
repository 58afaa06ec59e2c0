"""Text with marks in it: Markdown, web pages, and what is made of either or of its own XML; all become Markdown."""
