"""Finetuning: conversations in, an adapter with its own manifest out.

``data`` reads, makes and checks what is trained on; ``kernels`` compute one step; here are the methods, the training
itself, its estimate, and what is measured before and after it.
"""
