"""Every method that changes weights teaches facts at its default rate.

A small model learns the bundled facts of facts.py, each in ten wordings, by every method at rates around its default,
always with the same updates of as many conversations. Then it is asked without sources in wordings that no training
saw. The cost of each training is shown beside the answers: the rise of the loss on general text, in nats per token.
LoRA is also trained with general questions among the facts, at the highest of its rates.

Intervals are 95 %, over facts with all their wordings; there is one seed, so they do not contain the noise of training.
The last line printed is JSON; the exit code is 1 if a method teaches nothing significant at its default rate.
"""

import argparse
import json
import sys
from typing import get_args

from facts import PASSES, ROWS, asked, bundled, in_wordings, learned, require_held_out, wordings
from lorag import build
from lorag.evaluation.labels import points, share
from lorag.evaluation.statistics import mean_interval, paired_difference
from lorag.finetune_methods import Method
from lorag.settings import FinetuneSettings

FACTORS = (0.4, 1.0, 2.5, 5.0)
"""What a method's own rate is multiplied by."""
GENERAL_SHARES = (0.2, 0.5)
"""Of what LoRA is trained on; added to the facts, so that their updates stay as many a fact."""
MANNER = ("prompt", "prefix")
"""Methods that are measured too, and of which no facts are claimed."""
BAR = 0.0
"""What the interval of the difference from the untrained model lies above, at each method's own rate."""


def main() -> int:
    """Prints a line for each training, then all methods against the untrained model; 0 when the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--methods", nargs="+", default=get_args(Method), choices=get_args(Method), metavar="METHOD")
    parser.add_argument("--factors", nargs="+", type=float, default=FACTORS)
    parser.add_argument("--facts", type=int, default=40, help=f"a multiple of {ROWS}")
    parser.add_argument("--general", nargs="*", type=float, default=GENERAL_SHARES, help="shares for LoRA")
    options = parser.parse_args()
    examples, told = bundled(options.facts)
    require_held_out(examples, told)
    lesson = in_wordings(told, 10, 0)
    updates = options.facts // ROWS * PASSES
    trials: list[tuple[Method, float, float]] = [(m, f, 0.0) for m in options.methods for f in options.factors]
    if "lora" in options.methods:
        trials += [("lora", max(options.factors), general) for general in options.general]
    before = asked(build.trainable_model(options.model, FinetuneSettings()), examples)
    of_facts = [example.id for example in examples for _ in wordings(example)]
    print(f"untrained: {share(mean_interval(before, of_facts))}")
    gained = {}
    for method, factor, general in trials:
        rate = FinetuneSettings(method=method).rate * factor
        settings = FinetuneSettings(method=method, learning_rate=rate, general_share=general)
        kind = f"{method} at {rate:.3g}" + (f", {general:.0%} general" if general else "")
        right = learned(kind, lesson, examples, settings, updates, options.model)
        print(f"{kind}: {share(mean_interval(right, of_facts))}")
        if factor == 1.0:
            gained[method] = paired_difference(right, before, of_facts)
            print(f"{kind}, more than untrained: {points(gained[method])}")
    claimed = [gain for method, gain in gained.items() if method not in MANNER]
    holds = bool(claimed) and all(gain.interval.low > BAR for gain in claimed)
    line = {
        "claim": f"{options.model}: held-out wordings right, each method at its own rate against the untrained",
        "ours": {
            method: [round(end, 3) for end in (gain.mean, gain.interval.low, gain.interval.high)]
            for method, gain in gained.items()
        },
        "bar": BAR,
        "holds": holds,
    }
    print(json.dumps(line))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
