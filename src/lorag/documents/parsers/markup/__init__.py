"""Text with marks in it: Markdown as people write it, and web pages, which become Markdown."""
