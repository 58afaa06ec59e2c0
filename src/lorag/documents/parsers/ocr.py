"""The words in pictures, by the models that come with rapidocr (the extra ``ocr``).

They know Latin, Greek, Chinese and Japanese letters; other scripts come out wrong or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def reader() -> Callable[[NDArray[np.uint8]], str]:
    """A function from a picture of shape ``(height, width, 3)`` to its lines, from top to bottom.

    Loading it takes a second, reading a page some more; nothing is downloaded.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else ONNX Runtime reports what is loaded
    from rapidocr import RapidOCR

    engine: Any = RapidOCR(params={"Global.log_level": "critical"})

    def read(picture: NDArray[np.uint8]) -> str:
        return "\n".join(engine(picture).txts or ())

    return read
