"""Synthesised pairs stand in their passage, name their document, and never repeat a test question."""

import pytest

from lorag.errors import InputError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.training.synthesis import synthesize
from lorag.types import Chunk

TEXT = "The gauge was founded by Mara Lind in 1987. It weighs 4 kg."
CHUNK = Chunk("about.md", "v", 0, len(TEXT), TEXT, "About")


def test_only_supported_new_pairs_are_kept_and_everything_is_counted():
    written = (
        "Q: Who founded the gauge?\nA: Mara Lind\n"
        "Q: When was the gauge founded?\nA: 1988\n"
        "Q: What does the gauge weigh?\nA: 4 kg.\n"
        "Q: Who founded the gauge?\nA: Mara Lind\n"
        "2. Q: Is 1987 the year it was founded in?\nA: 1987\n"
        "Q: unfinished"
    )
    model = ScriptedModel(lambda prompt: written)
    made = synthesize([CHUNK], model, exclude=["what does the gauge WEIGH"])
    assert [(c.question, c.messages[-1].content, c.evidence) for c in made.conversations] == [
        ("Who founded the gauge?", "Mara Lind", ("about.md",))
    ]
    assert (made.passages, made.proposed, made.unsupported, made.repeated) == (1, 5, 2, 2)
    assert TEXT in model.prompts[0][-1].content


def test_a_model_that_writes_nothing_usable_is_an_error_that_says_what_to_do():
    with pytest.raises(InputError, match=r"scripted wrote no usable question about 1 passages; give .* --train"):
        synthesize([CHUNK], ScriptedModel(lambda prompt: "I like gauges."))
