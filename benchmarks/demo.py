"""The demo is credible and short: its model can read (ceiling at least 0.7), and it ends within 20 minutes.

Runs the whole demo in an empty folder, with the models already fetched. The last line printed is JSON; the exit code is
1 if the claim does not hold. There is no peer: no other tool makes this comparison.
"""

import json
import sys
import tempfile
import time

from lorag.evaluation.comparison import EVIDENCE
from lorag.models.catalogue import available_model, fetch
from lorag.settings import DEFAULT_EMBEDDER
from lorag.workflows.demo import demo

CEILING, MINUTES = 0.7, 20.0


def main() -> int:
    """Prints the measurement; 0 when the claim holds."""
    available_model()
    fetch(DEFAULT_EMBEDDER)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        comparison = demo(folder, progress=show)
        minutes = (time.perf_counter() - start) / 60
    ceiling = comparison.at("before")[EVIDENCE].estimates["correct_answerable"]
    holds = ceiling.mean >= CEILING and minutes <= MINUTES
    ours = {"ceiling": ceiling.mean, "minutes": round(minutes, 1)}
    bar = {"ceiling": CEILING, "minutes": MINUTES}
    claim = "the demo's model reads, and the demo ends in time"
    print(json.dumps({"claim": claim, "ours": ours, "peer": None, "ratio": None, "bar": bar, "holds": holds}))
    return 0 if holds else 1


def show(stage: str, done: int, total: int, note: str = "") -> None:
    """Progress on the error stream."""
    print(stage, f"{done}/{total}", note, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
