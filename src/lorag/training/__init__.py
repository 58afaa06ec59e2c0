"""Finetuning: conversations in, a LoRA adapter with its own explanation out."""
