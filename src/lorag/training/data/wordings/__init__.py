"""More wordings of what training conversations teach: by rules on English, and by a language model."""
