"""Lorag gives an LLM your knowledge by finetuning, by retrieval, or by both, and measures which one you should use.

Importing this package is light: a part and the libraries beneath it load when it is first used. The public names stand
in ``__init__.pyi``, for type checkers and for this module.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
