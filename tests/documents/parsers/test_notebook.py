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


def test_what_is_no_notebook_of_format_4_is_refused(tmp_path):
    others: tuple[object, ...] = ({"worksheets": []}, [1], {"cells": None})
    for other in others:
        with pytest.raises(DataError, match="holds no cells; expected a notebook of format 4"):
            parse(tmp_path, other)
