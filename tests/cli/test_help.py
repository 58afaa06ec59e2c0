"""The help of an option that sets one setting is the description of that setting, so that a text is typed once."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from lorag import settings, types
from lorag.cli.commands import app
from lorag.cli.shared_options import described
from lorag.settings import FinetuneSettings, RecipeSettings, RetrievalSettings

CLASSES = [each for name, each in (vars(settings) | vars(types)).items() if name.endswith(("Settings", "Sampling"))]
RENAMED = {"budget": (RecipeSettings, "minutes")}
"""Settings whose option has another name."""
OTHERS = {
    "compare thinking": "thoughts are never shown in a comparison, but counted in seconds and tokens",
    "data check max_tokens": "longer rows are counted, not left out",
    "questions make seed": "it chooses sections and questions",
    "review seed": "it chooses answers and their order",
    "prompt": "a file, which may hold a context and a probe as well",
}
"""Options with the name of a setting that are something else, in one command or in all, with the reason."""


def options() -> Iterator[tuple[str, Any]]:
    """Every option, after the name of its command."""

    def visit(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        yield from ((name, each) for each in command.params if each.param_type_name == "option")
        for inner in getattr(command, "commands", {}).values():
            yield from visit(inner, f"{name} {inner.name}".strip())

    yield from visit(get_command(app), "")


def described_as(name: str) -> set[str]:
    """What an option of that name may begin with."""
    owners = [each for each in CLASSES if name in each.__annotations__]
    return {described(*RENAMED[name])} if name in RENAMED else {described(each, name) for each in owners}


def test_an_option_that_sets_a_setting_has_its_description_as_help():
    found = {(command, each.name): (each.help, described_as(each.name)) for command, each in options()}
    named = {place: texts for place, texts in found.items() if texts[1]}
    left = {place for place in named if place[1] not in OTHERS and " ".join(place) not in OTHERS}
    assert len(left) > 40
    assert [place for place in left if not named[place][0].startswith(tuple(named[place][1]))] == []
    assert {*OTHERS} <= {name for place in named for name in (place[1], " ".join(place))}


def test_a_description_is_the_first_sentence_in_one_line():
    assert described(FinetuneSettings, "epochs", "At night.") == "Number of passes over the conversations. At night."
    assert described(RetrievalSettings, "reranker").endswith("a catalogue name, OWNER/NAME of a hub, or a folder.")
    assert "`shard` splits" in described(FinetuneSettings, "cpu_offload")
    with pytest.raises(KeyError, match="epoch"):
        described(FinetuneSettings, "epoch")
