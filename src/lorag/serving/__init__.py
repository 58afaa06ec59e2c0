"""The assistant over HTTP: an OpenAI-compatible API, and uploads into its index. Needs the extra ``serve``."""
