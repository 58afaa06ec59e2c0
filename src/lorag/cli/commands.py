"""The commands in the order in which their help lists them. ``lorag COMMAND --help`` shows an example that runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from lorag.cli import (
    assistant_commands,
    compare_command,
    data_commands,
    evaluate_command,
    finetune_command,
    index_command,
    model_commands,
    serve_command,
    tuning_commands,
)
from lorag.cli.screen import keep_libraries_quiet, output, translated_errors

app = typer.Typer(
    help="Gives an LLM your knowledge by finetuning, by retrieval, or by both, and measures which one to use.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_DECIDE, _RETRIEVE, _TRAIN, _USE = "Decide", "Retrieve", "Train", "Use"


_PANELS = {
    "Model and answers": "model adapter finetuned engine prompt thinking max_tokens blocked offer",
    "Search": "sides rerank reranker min_cosine where embedder store no_sources",
    "Finetuning": "train train_update control method epochs rank learning_rate budget auto seeds patience general_share"
    " general_text_share continue_from replay replay_share",
    "Verdict and reports": "require verdict_on judge prices against junit markdown",
    "Servers and devices": "concurrency max_cost_tokens ray shard cpu_offload gradient_checkpointing",
    "Server": "host port key keys uploads allow_origin max_seconds page",
}
"""The parameters of commands with many options, by the panel in which their help lists them."""
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names.split()}
_MANY = 12


class _Grouped(TyperCommand):
    """A command whose help lists many options in panels, and few in one."""

    def __init__(self, *given: Any, params: list[Any], **named: Any) -> None:
        super().__init__(*given, params=params, **named)
        for each in params if len(params) > _MANY else ():
            if isinstance(each, TyperOption):
                each.rich_help_panel = _PANEL_OF.get(each.name or "")


def _add(panel: str, command: Callable[..., Any], example: str, name: str | None = None) -> None:
    app.command(name, cls=_Grouped, epilog=f"Example: lorag {example}", rich_help_panel=panel)(command)


_add(_DECIDE, compare_command.compare, "compare --documents docs/ --questions qa.jsonl --out run/")
_add(_DECIDE, compare_command.demo, "demo --out run/")
_add(_DECIDE, compare_command.report, "report run/ --verbose")
_add(_DECIDE, evaluate_command.review, "review run/")
app.add_typer(data_commands.questions_app, name="questions", rich_help_panel=_DECIDE)
_add(_RETRIEVE, index_command.index, "index docs/")
_add(_RETRIEVE, assistant_commands.search, 'search "how long is the warranty"')
_add(_RETRIEVE, tuning_commands.tune, "tune --documents docs/ --questions qa.jsonl")
_add(_RETRIEVE, tuning_commands.calibrate, "calibrate --questions qa.jsonl")
_add(
    _RETRIEVE,
    tuning_commands.finetune_embedder,
    "finetune-embedder docs/ --questions qa.jsonl --out embedders/support",
)
app.add_typer(data_commands.app, name="data", rich_help_panel=_TRAIN)
_add(_TRAIN, finetune_command.finetune, "finetune chat.jsonl --model smollm2-135m --out adapters/support")
_add(_TRAIN, evaluate_command.evaluate, "evaluate adapters/support --tasks tasks/")
_add(_TRAIN, finetune_command.export, "export adapters/support --format gguf --out exported/support")
_add(_USE, assistant_commands.ask, 'ask "how long is the warranty?"')
_add(_USE, assistant_commands.chat, "chat --model qwen2.5-coder-0.5b --history talk.json")
_add(_USE, serve_command.serve, "serve --model qwen2.5-coder-0.5b --port 8000")
_add(_USE, serve_command.studio, "studio --port 8000")
_add(_USE, serve_command.mcp, "mcp --search-only")
app.add_typer(model_commands.app, name="models", rich_help_panel=_USE)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        output.print(f"lorag {version('lorag')}", highlight=False)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Runs the command line; every error becomes one line and an exit code, and other libraries keep still."""
    keep_libraries_quiet()
    try:
        with translated_errors():
            app(standalone_mode=True)
    except typer.Exit as end:  # of an error outside of every command
        sys.exit(end.exit_code)
