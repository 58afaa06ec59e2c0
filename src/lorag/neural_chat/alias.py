"""The old import root, for code that cannot be edited."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from lorag.errors import InputError

_OLD = "intel_extension_for_transformers"
_NAMES = {
    "neural_chat": "lorag.neural_chat",
    "neural_chat.config": "lorag.neural_chat.config",
    "neural_chat.chatbot": "lorag.neural_chat.chatbot",
    "neural_chat.plugins": "lorag.neural_chat.plugins",
    "neural_chat.models": "lorag.neural_chat.models",
    "neural_chat.models.model_utils": "lorag.neural_chat.models.model_utils",
    "transformers": "lorag.neural_chat.config",
}


def install_alias() -> None:
    """From now on ``intel_extension_for_transformers.neural_chat`` is ``lorag.neural_chat``, in this process.

    Calling it twice is calling it once. Raises ``InputError`` where the package of that name is installed.
    """
    if _OLD in sys.modules and getattr(sys.modules[_OLD], "__file__", None) is None:
        return
    if importlib.util.find_spec(_OLD) is not None:
        raise InputError(f"{_OLD} is itself installed; uninstall it, or import lorag.neural_chat")
    root = ModuleType(_OLD, "An alias of lorag.neural_chat.")
    root.__path__ = []
    sys.modules[_OLD] = root
    for name, target in _NAMES.items():
        module = importlib.import_module(target)
        sys.modules[f"{_OLD}.{name}"] = module
        if "." not in name:
            setattr(root, name, module)
