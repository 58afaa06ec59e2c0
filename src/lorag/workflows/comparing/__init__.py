"""The steps of a comparison: its training data, its worked examples, the prompts that are chosen before it asks."""
