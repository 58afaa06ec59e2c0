"""The options that several commands share, the same in each, and those of a command as a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection
from dataclasses import fields, is_dataclass, replace
from functools import cache, wraps
from inspect import Parameter, Signature, getsource, signature
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import typer

from lorag.cli.screen import translated_errors
from lorag.errors import DataError, InputError, UnknownNameError
from lorag.files import read_toml, toml_lines, write_whole
from lorag.finetune_methods import METHODS
from lorag.settings import DEFAULT_RERANKER, EmbedderSettings, FinetuneSettings, RetrievalSettings
from lorag.types import Sampling, ThinkingSampling

_Training = TypeVar("_Training", FinetuneSettings, EmbedderSettings)
_USUAL = FinetuneSettings()
_CLASS = re.compile(r"^class (\w+)", re.MULTILINE)
_FIELD = re.compile(r'^    (\w+): [^\n]+\n    """(.+?)"""', re.MULTILINE | re.DOTALL)
"""A field in one line, and the string below it. To parse the whole module would take each command 10 ms."""


def described(settings: type, name: str, *more: str) -> str:
    """The first sentence of the string below a setting, as help for its option, and then ``more``.

    Raises ``KeyError`` for a name that has no such string in the class ``settings``.
    """
    text = _descriptions(settings.__module__)[settings.__name__][name]
    return " ".join((text.partition(". ")[0].removesuffix(".") + ".", *more))


@cache
def _descriptions(module: str) -> dict[str, dict[str, str]]:
    """The strings below the fields of each class of a module, each in one line, with `code` as in all help."""
    parts = iter(_CLASS.split(getsource(sys.modules[module]))[1:])
    return {
        name: {field: " ".join(text.replace("``", "`").split()) for field, text in _FIELD.findall(body)}
        for name, body in zip(parts, parts, strict=True)
    }


EmbedderName = Annotated[
    str,
    typer.Option(
        "--embedder",
        help="The embedder: a catalogue name, OWNER/NAME of a hub, openai:MODEL@URL, ollama:MODEL, or a"
        " folder such as `lorag finetune-embedder` writes; use the same for every command on an index.",
    ),
]
SearchKind = Literal["hybrid", "dense", "lexical"]
Search = Annotated[
    SearchKind | None,
    typer.Option(
        "--search",
        metavar="KIND",
        help="Kind of search: dense (semantic), lexical (keyword), or hybrid (both).",
    ),
]
Rerank = Annotated[
    bool | None,
    typer.Option("--rerank/--no-rerank", help="Let a cross-encoder reorder the best passages; slower."),
]
RerankerName = Annotated[str | None, typer.Option("--reranker", help=described(RetrievalSettings, "reranker"))]
MinCosine = Annotated[float | None, typer.Option("--min-cosine", help=described(RetrievalSettings, "min_cosine"))]
FinetuneMethod = Annotated[
    str | None,
    typer.Option(
        help=described(FinetuneSettings, "method", f"One of {', '.join(METHODS)}; by default {_USUAL.method}.")
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(help=described(FinetuneSettings, "epochs", f"Default: {_USUAL.epochs}, or chosen within --budget.")),
]
LearningRate = Annotated[
    float | None, typer.Option(help=described(FinetuneSettings, "learning_rate", "Default: the method's own."))
]
Control = Annotated[
    Path | None,
    typer.Option(
        "--control",
        help="A JSONL of multiple-choice questions (question, choices, answers or label), asked before and after"
        " training to see what was forgotten.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Search only documents with this id, source, title, type, or value of a JSON row's key; * matches any"
        " text. May be repeated: all keys must match, each with any of its values.",
    ),
]


def _use(context: typer.Context, path: Path | None) -> None:
    """Takes the options in a file as a command's defaults: what the command line gives goes before them."""
    if path is not None:
        with translated_errors():
            context.default_map = _read_options(path, _parameters(context))


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="A TOML file with these options, such as RUN/run.toml; options on the command line override it.",
        is_eager=True,
        callback=_use,
    ),
]


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """``command``, whose parameters that are dataclasses are options of the command line, one for each field."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[Parameter] = []
    for each in signature(command).parameters.values():
        if each.name in groups:
            types = get_type_hints(groups[each.name], include_extras=True)
            parameters += [
                Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name])
                for field in fields(groups[each.name])
            ]
        else:
            parameters.append(each.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[each.name]))

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # functions may have one
    return run


def write_options(context: typer.Context, path: Path, leave_out: Collection[str]) -> None:
    """Writes the options that a command was given into a TOML file, but for those to ``leave_out``."""
    defaults = {each.name: each.default for each in context.command.params}
    given = {
        option: context.params[name]
        for option, name in _parameters(context).items()
        if option not in leave_out and context.params[name] not in (None, (), defaults[name])
    }
    write_whole(path, toml_lines(given))


def _parameters(context: typer.Context) -> dict[str, str]:
    """For each option that may stand in a file its parameter; arguments and ``--config`` may not."""
    options = [each for each in context.command.params if each.param_type_name == "option" and each.expose_value]
    return {each.opts[0].lstrip("-"): str(each.name) for each in options if each.name != "config"}


def _read_options(path: Path, parameters: dict[str, str]) -> dict[str, Any]:
    """What a file gives, by parameter. Raises ``DataError`` for broken TOML and for an option that there is not."""
    given = read_toml(path)
    for option in given:
        if option not in parameters:
            raise DataError(path, str(UnknownNameError("option", option, parameters)))
    return {parameters[option]: value for option, value in given.items()}


def training_settings(settings: _Training, **given: Any) -> _Training:
    """``settings`` with what was asked for in the command line in their place."""
    return replace(settings, **{key: value for key, value in given.items() if value is not None})


def sampling_of(thinking: str, max_tokens: int | None = None) -> Sampling:
    """How answers are drawn. Raises ``InputError`` for a choice of thinking that does not exist."""
    drawn = Sampling() if thinking == "off" else ThinkingSampling(thinking=thinking)  # type: ignore[arg-type]
    return drawn if max_tokens is None else replace(drawn, max_tokens=max_tokens)


def retrieval_settings(
    settings: RetrievalSettings,
    search: SearchKind | None,
    rerank: bool | None,
    reranker: str | None,
    min_cosine: float | None,
) -> RetrievalSettings:
    """``settings`` with what was asked for in the command line in their place; a ``reranker`` that is named reads.

    Raises ``InputError`` for one that is not to.
    """
    if search is not None:
        settings = replace(settings, dense_weight={"dense": 1.0, "lexical": 0.0, "hybrid": _both(settings)}[search])
    if reranker is not None and rerank is False:
        raise InputError(f"--no-rerank leaves out the reranker {reranker!r}; give one of the options")
    if reranker is not None:
        settings = replace(settings, reranker=reranker)
    elif rerank is not None:
        settings = replace(settings, reranker=(settings.reranker or DEFAULT_RERANKER) if rerank else None)
    return settings if min_cosine is None else replace(settings, min_cosine=min_cosine)


def _both(settings: RetrievalSettings) -> float:
    """The weight of the dense side where both have a say."""
    return settings.dense_weight if 0 < settings.dense_weight < 1 else RetrievalSettings().dense_weight
