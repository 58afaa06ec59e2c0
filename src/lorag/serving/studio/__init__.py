"""The page of ``lorag studio``: documents, questions, training data, comparisons and their review in a browser."""
