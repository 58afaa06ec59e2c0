import json

import pytest

from lorag.documents.parsers.markup.notebook import parse_notebook
from lorag.errors import DataError


def parse(tmp_path, notebook):
    return parse_notebook(tmp_path / "x.ipynb", json.dumps(notebook).encode())


def test_cells_and_what_they_print_are_read_in_order(tmp_path):
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["12\n", "13\n"]},
        {"output_type": "execute_result", "data": {"text/plain": ["'x'"], "text/html": ["<b>x</b>"]}},
        {"output_type": "display_data", "data": {"image/png": "iVBOR", "text/plain": ["<Figure>"]}},
        {"output_type": "error", "ename": "E", "traceback": ["deep"]},
    ]
    parsed = parse(
        tmp_path,
        {
            "nbformat": 4,
            "cells": [
                {"cell_type": "markdown", "source": ["Depths\n", "======\n", "of the quay"]},
                {"cell_type": "code", "source": "# no heading\nprint('```')", "outputs": outputs},
                {"cell_type": "raw", "source": ""},
            ],
        },
    )
    assert parsed.title == "Depths"
    assert parsed.text == (
        "# Depths\nof the quay\n\n````\n# no heading\nprint('```')\n````\n\n```\n12\n13\n```\n\n```\n'x'\n```\n\n"
        "```\n<Figure>\n```"
    )
    assert parsed.notes == ("has pictures that were not read",)


def test_markdown_of_cells_and_results_is_read_as_in_files(tmp_path):
    picture = "![the lead](data:image/png;base64," + "iVBORw0KGgo" * 300 + ")"
    result = {"output_type": "display_data", "data": {"text/markdown": ["Result\r\n", "------\r\n", picture]}}
    cells = [
        {"cell_type": "raw", "source": "---\r\ntitle: Depths\r\ntags: [quay]\n---\n\nOf 2026."},
        {"cell_type": "markdown", "source": f"# Dock\r\n\r\n{picture}"},
        {"cell_type": "code", "source": "", "outputs": [result]},
    ]
    parsed = parse(tmp_path, {"nbformat": 4, "cells": cells})
    assert (parsed.title, parsed.meta) == ("Depths", (("tags", "quay"),))
    assert parsed.text == "Of 2026.\n\n# Dock\n\nthe lead\n\n## Result\nthe lead"
    assert parsed.notes == ("holds pictures as data in its text, of which only the alternative text was read",)


def test_results_that_only_another_form_shows_are_read(tmp_path):
    table = "<table><tr><th>Dock<th>Depth<tr><td>A<td>4 m</table><p hidden>draft</p>"
    results: list[dict[str, object]] = [
        {"text/plain": ["<IPython.core.display.HTML object>"], "text/html": [table]},
        {"text/plain": "<pandas.io.formats.style.Styler at 0x7f2Ab0>", "text/html": "<p>Styled\0</p>"},
        {"text/html": "<b>only</b>"},
        {"text/plain": "<IPython.core.display.Latex object>", "text/latex": ["$\\frac{1}{2}$"]},
        {"text/plain": "x**2", "text/latex": "$x^2$"},
        {"text/plain": "<Quay object>"},
        {"application/json": {"a": 1}},
    ]
    cell = {"cell_type": "code", "source": "", "outputs": [{"output_type": "x", "data": data} for data in results]}
    parsed = parse(tmp_path, {"cells": [cell]})
    assert parsed.text == (
        "| Dock | Depth |\n| --- | --- |\n| A | 4 m |\n\nStyled\n\nonly\n\n$\\frac{1}{2}$\n\n```\nx**2\n```\n\n"
        "```\n<Quay object>\n```"
    )
    assert parsed.notes == ("has 1 result without a text, which was not read", "has hidden text, which was not read")


def test_what_is_no_notebook_of_format_4_is_refused(tmp_path):
    others: tuple[object, ...] = ({"worksheets": []}, [1], {"cells": None})
    for other in others:
        with pytest.raises(DataError, match="holds no cells; expected a notebook of format 4"):
            parse(tmp_path, other)
