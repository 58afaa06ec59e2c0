"""OpenAI's objects: requests read and checked, answers and vectors written."""
