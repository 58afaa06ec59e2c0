"""The steps of a finetune: an adapter trained on an engine and proven as it is served, and what it is probed by."""
