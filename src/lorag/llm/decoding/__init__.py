"""How answers are decoded: sampling, beams, caches of keys and values, and where an answer stops."""
