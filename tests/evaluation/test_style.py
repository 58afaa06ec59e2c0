import json

import pytest

from lorag.errors import DataError
from lorag.evaluation.answers.style import Style, count_sentences, read_style


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("One", 1),
        ("One. Two! Three?", 3),
        ("It is 3.5 m, approx. half. Done.", 2),
        ("He said “no.” Then left.", 2),
        ("- one\n- two\n\n- three", 3),
    ],
)
def test_sentences(text, expected):
    assert count_sentences(text) == expected


def test_the_share_of_declared_checks():
    style = Style(max_sentences=1, max_words=5, ends_with="Regards, Ebb", avoid=("as an AI", "sorry"))
    assert style.share("Yes. Regards, Ebb \n") == 0.75
    assert style.share("Sorry, no. I am, as an ai, unable to. Bye") == 0
    assert Style(avoid=("art", "!")).share("a party") == 1
    assert Style(avoid=("art", "!")).share("a party!") == 0
    assert Style().share("anything") is None


def test_a_style_file(tmp_path):
    path = tmp_path / "style.json"
    path.write_text(json.dumps({"max_sentences": 2, "avoid": ["as an AI"]}), encoding="utf-8")
    assert read_style(path) == Style(max_sentences=2, avoid=("as an AI",))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"max_sentence": 2}', "did you mean 'max_sentences'"),
        ('{"max_words": 0}', "whole number of at least 1"),
        ('{"max_words": true}', "whole number of at least 1"),
        ('{"ends_with": " "}', "'ends_with' is ' '"),
        ('{"avoid": "sorry"}', "a list of phrases"),
        ('{"avoid": []}', "a list of phrases"),
        ("{}", "declares no style"),
        ("[1]", "declares no style"),
        ('{\n"avoid": }', ":2: broken JSON"),
    ],
)
def test_a_wrong_style_file_is_refused(tmp_path, content, expected):
    path = tmp_path / "style.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=expected):
        read_style(path)
