"""Where weights come from: the catalogue, GGUF files, exports, and what a model folder holds."""
