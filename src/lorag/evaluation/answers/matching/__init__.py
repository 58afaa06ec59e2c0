"""Whether an answer agrees with a reference: texts read as words and values, and compared."""
