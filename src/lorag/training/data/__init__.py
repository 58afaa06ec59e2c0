"""Training data: rows become conversations, documents become questions and answers, some are held out."""
