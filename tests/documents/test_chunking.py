import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorag.documents.chunking import split
from lorag.types import Document


def words(text):
    return len(re.findall(r"\w+|[^\w\s]", text))


def runs(text):
    return len(text.split())


PIECES = st.sampled_from(
    [
        "# Heading\n",
        "\n\n## Гарантия и возврат\n\n",
        "### 電池の交換\n",
        "The gauge reads the level of the water. It is calibrated twice a year.",
        "Прибор измеряет уровень воды. Его поверяют дважды в год. ",
        "潮位計は水位を測定します。年に二回校正します。",
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n",
        "```\n# not a heading\ncode()\n```\n",
        "- one\n- two\n  - three\n",
        "👩‍👩‍👧‍👦🇪🇪é̀",
        "\r\n\r\n",
        "\n\n\n",
        "   ",
        "\t",
        "\u2028",
        "\x00",
        "a" * 60,
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=30).map("".join),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=300),
    st.lists(st.one_of(PIECES, st.text(st.characters(exclude_categories=("Cs",)), max_size=20)), max_size=20).map(
        "".join
    ),
)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, size=st.integers(1, 40), count=st.sampled_from([words, len]))
def test_the_laws_of_chunks(text, size, count):
    document = Document("d", text, "source", "Title")
    chunks = split(document, size, count)
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
        assert (chunk.document_id, chunk.document_version) == ("d", document.version)
        assert chunk.text.strip()
        assert count(chunk.text) <= size or len(chunk.text) == 1
    covered = 0
    for chunk in chunks:
        assert not text[covered : chunk.start].strip()
        assert covered <= chunk.start
        covered = chunk.end
    assert not text[covered:].strip()


@settings(max_examples=100, deadline=None)
@given(sentences=st.lists(st.text(st.characters(categories=("L", "N", "So")), min_size=1, max_size=8), max_size=40))
def test_joined_chunks_are_the_text(sentences):
    text = " ".join(sentences)
    assert "".join(chunk.text for chunk in split(Document("d", text, ""), 5, words)) == text


@pytest.mark.parametrize("text", ["", "   ", "\n\n\t\r\n"])
def test_nothing_to_search_is_no_chunk(text):
    assert split(Document("d", text, ""), 5, words) == []


def test_the_heading_path_is_what_stands_above():
    text = (
        "before any heading here\n\n# Guide\n\nabout this guide now\n\n## Power\n\nit needs much power\n\n"
        "### Batteries\n\nlithium packs only please\n\n## Returns\n\nwithin thirty days only\n"
    )
    chunks = split(Document("d", text, "", "Gauge"), 6, runs)
    assert [(chunk.text.split()[-1], chunk.heading) for chunk in chunks] == [
        ("here", "Gauge"),
        ("now", "Gauge > Guide"),
        ("power", "Gauge > Guide > Power"),
        ("please", "Gauge > Guide > Power > Batteries"),
        ("only", "Gauge > Guide > Returns"),
    ]


def test_a_first_heading_that_is_the_title_counts_once():
    text = "# Gauge\n\nit reads\n\n## Power\n\nit needs power"
    chunks = split(Document("d", text, "", "Gauge"), 5, runs)
    assert [chunk.heading for chunk in chunks] == ["Gauge", "Gauge > Power"]


def test_without_a_title_the_path_is_of_headings_alone():
    assert [c.heading for c in split(Document("d", "plain text", ""), 9, words)] == [""]
    assert [c.heading for c in split(Document("d", "# A\n\ntext", ""), 9, words)] == ["A"]


def test_a_heading_in_code_is_no_heading():
    text = "# A\n\n```\n# B\n```\n\nsome words after the code"
    assert {chunk.heading for chunk in split(Document("d", text, "", "T"), 6, words)} == {"T > A"}


def test_blank_space_before_a_heading_belongs_to_its_section():
    chunks = split(Document("d", "# A\n\none two three\n\n\n\n## B\n\nfour five six", "", ""), 5, words)
    assert chunks[-1].heading == "A > B"


def test_small_sections_share_a_chunk_and_sizes_are_kept():
    text = "\n\n".join(f"## S{i}\n\n" + "word " * 20 for i in range(20))
    chunks = split(Document("d", text, ""), 64, words)
    assert all(words(chunk.text) <= 64 for chunk in chunks)
    assert len(chunks) < 20


def test_a_long_document_is_cut_quickly():
    text = "".join(f"## Section {i}\n\n{'word ' * 50}\n\n" for i in range(1000))
    assert len(split(Document("d", text, ""), 60, words)) == 1000
