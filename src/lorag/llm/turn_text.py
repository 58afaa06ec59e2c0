"""Who speaks in a turn of a conversation and what, as rows to train on and requests to the server write it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lorag.types import Role

ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""The roles of OpenAI's protocol. ``developer`` is its later name of the system."""
TEXT_PARTS = ("text",)
"""Types of the parts that rows of training data may hold."""


def joined_text(content: object, kinds: Collection[str] = TEXT_PARTS) -> str | None:
    """The text of a content: itself, or its parts of these ``kinds``, each on lines of its own, as vLLM joins them.

    None where it is something else: no text, an empty list, or a list with other parts, such as images.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kind) if isinstance(kind, str) and kind in kinds else None
        if not isinstance(text, str):
            return None
        texts.append(text)
    return "\n".join(texts)
