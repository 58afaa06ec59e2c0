"""One file an engine; each implements ``lorag.interfaces.LanguageModel``."""
