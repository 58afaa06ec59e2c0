"""Whether what an answer states stands in passages."""
