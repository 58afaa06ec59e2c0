import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorag.documents.chunking import passages, searched_text, split
from lorag.documents.markdown_structure import tables
from lorag.errors import InputError
from lorag.settings import ChunkSettings
from lorag.types import Document, Place


def words(text):
    return len(re.findall(r"\w+|[^\w\s]", text))


def runs(text):
    return len(text.split())


def grid(rows, width=2, word="cell"):
    lines = [" | ".join([f"{word}{row}"] * width) for row in range(rows)]
    return "\n".join(f"| {line} |" for line in ["head | er", "--- | ---", *lines])


PIECES = st.sampled_from(
    [
        grid(1) + "\n",
        grid(9) + "\n\n",
        grid(3, word="long words in a cell "),
        "## Prices\n\n" + grid(20),
        "a | b\n:-: | -\n1 | \\| 2 | 3\nстрока\n",
        "| 電池 | 価格 |\n|---|---|\n| 潮位計は水位を測定します | 二回校正します |\n",
        "```\n| a | b |\n|---|---|\n```\n",
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
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    st.lists(st.one_of(PIECES, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)), max_size=20).map(
        "".join
    ),
)


@settings(max_examples=300)
@given(text=TEXTS, size=st.integers(1, 40), count=st.sampled_from([words, len]))
def test_the_laws_of_chunks(text, size, count):
    document = Document("d", text, "source", "Title")
    chunks = split(document, size, count)
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
        assert (chunk.document_id, chunk.document_version) == ("d", document.version)
        assert chunk.text.strip()
        assert count(chunk.text) <= size or len(chunk.text) == 1
        if chunk.table_header and len(chunk.text) > 1:
            assert count(f"{chunk.table_header}\n{chunk.text}") <= size
    assert_covered(text, chunks)


def assert_covered(text, chunks):
    covered = 0
    for chunk in chunks:
        assert not text[covered : chunk.start].strip()
        assert covered <= chunk.start
        covered = chunk.end
    assert not text[covered:].strip()


@settings(max_examples=200)
@given(text=TEXTS, title=st.sampled_from(["", "Title", "A very long title " * 20]), limit=st.integers(16, 60))
def test_an_embedder_sees_every_chunk_whole(text, title, limit):
    chunks = split(Document("d", text, "source", title), 40, words, limit)
    assert_covered(text, chunks)
    for chunk in chunks:
        assert words(chunk.text) <= min(40, limit)
        assert words(searched_text(chunk)) <= limit


@settings(max_examples=150)
@given(text=TEXTS, size=st.integers(16, 90))
def test_the_laws_of_passages_and_their_pieces(text, size):
    document = Document("d", text, "source", "Title", (Place(3, "page 2"),))
    found = passages(document, ChunkSettings(size, search_tokens=16), words)
    assert_covered(text, [chunk for chunk, _ in found])
    pieces = split(document, 16, words)
    assert [text for _, texts in found for text in texts] == [searched_text(piece) for piece in pieces]
    for chunk, _ in found:
        assert text[chunk.start : chunk.end] == chunk.text
        assert words(chunk.text) <= size
    for (left, _), (right, _) in pairwise(found):
        first = next(piece for piece in pieces if piece.start == right.start)
        assert words(text[left.start : first.end]) > size


def test_a_passage_is_what_stands_around_its_pieces():
    text = f"# Guide\n\n{'word ' * 18}\n\n## Power\n\n{'more ' * 18}\n\n## End\n\n{'last ' * 18}"
    document = Document("d", text, "", "Gauge", (Place(0, "page 1"), Place(text.index("## P"), "page 2")))
    found = passages(document, ChunkSettings(50, search_tokens=24), words)
    assert [(chunk.heading, chunk.place, len(texts)) for chunk, texts in found] == [
        ("Gauge > Guide", "page 1 to page 2", 2),
        ("Gauge > Guide > End", "page 2", 1),
    ]
    assert passages(document, ChunkSettings(50), words) == [
        (chunk, [searched_text(chunk)]) for chunk in split(document, 50, words)
    ]


def test_sizes_that_make_no_sense_are_refused():
    assert ChunkSettings(2000, search_tokens=128).max_tokens == 2000
    for sizes, said in (((511,), "max_tokens 511"), ((300, 15), "search_tokens 15 is"), ((100, 101), "above max_t")):
        with pytest.raises(InputError, match=said):
            ChunkSettings(*sizes)


def test_a_long_heading_path_takes_half_of_the_limit_at_most():
    text = f"# {'Guide ' * 30}\n\n## Power\n\n{'word ' * 100}"
    chunks = split(Document("d", text, "", "Gauge"), 40, words, 40)
    assert max(words(chunk.text) for chunk in chunks) == 20
    assert all(chunk.heading == "Power" for chunk in chunks[-3:])
    assert "Guide" in chunks[0].heading


def test_a_heading_path_that_fits_costs_nothing():
    text = f"# Guide\n\n{'word ' * 100}"
    document = Document("d", text, "", "Gauge")
    assert split(document, 40, words, 60) == split(document, 40, words)


@pytest.mark.parametrize("size", [12, 30, 70, 200])
def test_a_table_that_fits_is_in_one_chunk(size):
    text = f"{'word ' * 50}\n\n## Prices\n\n{grid(1, 2)}\n\n{'word ' * 50}"
    (table,) = tables(text)
    whole = words(text[table.start : table.end]) <= size
    chunks = split(Document("d", text, ""), size, words)
    assert any(chunk.start <= table.start and table.end <= chunk.end for chunk in chunks) == whole


def test_a_small_table_stays_with_the_words_around_it():
    text = f"## Prices\n\nThe plans are:\n\n{grid(2)}\n\nPrices hold for a year.\n"
    assert len(split(Document("d", text, ""), 60, words)) == 1


def test_a_large_table_is_cut_between_rows_and_each_part_carries_the_header():
    text = f"before\n\n## Prices\n\n{grid(20)}\n\nafter"
    before, first, *parts, after = split(Document("d", text, "", "T"), 40, words)
    assert (before.text, after.text.strip()) == ("before\n\n", "after")
    assert first.text.startswith("## Prices\n\n| head | er |\n")
    assert first.table_header == after.table_header == ""
    assert len(parts) > 1
    for part in parts:
        assert part.table_header == "| head | er |"
        assert part.heading == "T > Prices"
        assert all(line.startswith("| cell") and line.endswith(" |") for line in part.text.strip().split("\n"))
        assert searched_text(part).startswith("T > Prices\n| head | er |\n| cell")


def test_a_row_that_is_too_large_is_cut_like_text():
    text = f"| a | b |\n|---|---|\n| 1 | 2 |\n| {'word ' * 60} | x |\n| 3 | 4 |"
    chunks = split(Document("d", text, ""), 25, words)
    assert_covered(text, chunks)
    assert {chunk.table_header for chunk in chunks} == {"", "| a | b |"}


def test_a_header_of_half_a_chunk_is_not_repeated():
    wide = f"| {' | '.join(['name'] * 20)} |\n|{'---|' * 20}\n"
    text = wide + f"| {' | '.join(['x'] * 20)} |\n" * 5
    assert {chunk.table_header for chunk in split(Document("d", text, ""), 60, words)} == {""}


def test_a_chunk_says_where_in_the_file_it_stands():
    pages = [f"{'word ' * 12}end{number}." for number in range(4)]
    starts = [sum(len(page) + 2 for page in pages[:number]) for number in range(4)]
    places = tuple(Place(start, f"page {number}") for number, start in enumerate(starts, start=1))
    document = Document("d", "\n\n".join(pages), "", places=places)
    assert [chunk.place for chunk in split(document, 15, words)] == ["page 1", "page 2", "page 3", "page 4"]
    assert [chunk.place for chunk in split(document, 30, words)] == ["page 1 to page 2", "page 3 to page 4"]
    assert [chunk.place for chunk in split(document, 99, words)] == ["page 1 to page 4"]
    assert {chunk.place for chunk in split(Document("d", document.text, ""), 15, words)} == {""}
    late = Document("d", document.text, "", places=(Place(starts[2], "notes"),))
    assert [chunk.place for chunk in split(late, 15, words)] == ["", "", "notes", "notes"]


@settings(max_examples=100)
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


def test_a_heading_stays_with_what_it_heads():
    sentence = "The cover lasts for twenty-six months from the day. "
    text = f"# Pump\n\n## Warranty\n\n{sentence * 8}\n\n## Care\n\n### Seals\n\n{sentence * 8}\n\n## Last"
    chunks = split(Document("d", text, ""), 40, words)
    assert_covered(text, chunks)
    assert all(words(chunk.text) <= 40 for chunk in chunks)
    for chunk in chunks:
        assert "cover" in chunk.text, chunk
    assert chunks[0].text.startswith("# Pump\n\n## Warranty\n\nThe cover")


@pytest.mark.parametrize(
    ("above", "end"),
    [
        ("The cover lasts. " * 12, "The cover lasts. \n\n## Last\n\n### Of all"),
        ("It lasts.\n" * 12, "It lasts.\n\n\n## Last\n\n### Of all"),
        ("The cover lasts " * 12, "lasts The cover lasts \n\n## Last\n\n### Of all"),
        (grid(12) + "\n", "| cell11 | cell11 |\n\n\n## Last\n\n### Of all"),
        (grid(9, 1, "One. Two") + "\n", "| One. Two8 |\n\n\n## Last\n\n### Of all"),
        ("```\n" + "open valve\n" * 12 + "```", "open valve\n```\n\n## Last\n\n### Of all"),
    ],
)
def test_a_heading_at_the_end_takes_the_end_of_what_is_above_it(above, end):
    text = f"# Pump\n\n{above}\n\n## Last\n\n### Of all"
    chunks = split(Document("d", text, ""), 20, words)
    assert_covered(text, chunks)
    assert all(words(chunk.text) <= 20 for chunk in chunks)
    assert chunks[-1].text.endswith(end)
    assert chunks[-1].table_header == ("| head | er |" if "|" in above else "")


def test_a_heading_at_the_end_joins_a_table_that_leaves_it_room():
    text = f"# Pump\n\n{'The cover lasts long. ' * 9}\n\n{grid(1)}\n\n## Last"
    chunks = split(Document("d", text, ""), 26, words)
    assert_covered(text, chunks)
    assert chunks[-1].text == f"{grid(1)}\n\n## Last"


@pytest.mark.parametrize("rows", [3, 5, 20])
def test_headings_above_each_other_stay_with_the_table_below(rows):
    text = f"before\n\n# Prices\n\n## Of 2026\n\n### Quay\n\n{grid(rows)}\n\nafter"
    chunks = split(Document("d", text, ""), 40, words)
    assert_covered(text, chunks)
    assert all(words(chunk.text) <= 40 for chunk in chunks)
    (first,) = (chunk for chunk in chunks if "# Prices" in chunk.text)
    assert "### Quay\n\n| head | er |\n| --- | --- |\n| cell0 | cell0 |" in first.text
    if rows > 3:
        assert first.text.startswith("# Prices\n\n## Of 2026\n\n")
        assert all(chunk.table_header == "| head | er |" for chunk in chunks if chunk.text.startswith("| cell"))


@pytest.mark.parametrize("heads", ["# Pump", "# Pump\n\n## Warranty"])
@pytest.mark.parametrize("sentence", ["The cover lasts " + "for long " * 17, "潮位計は水位を" * 12])
def test_a_heading_takes_the_first_words_of_a_sentence_that_does_not_fit(heads, sentence):
    count = words if sentence.isascii() else len
    size = count(f"{sentence}.") + 2
    text = f"{heads}\n\n{sentence}.\n\nEnd."
    first, *rest = split(Document("d", text, ""), size, count)
    assert_covered(text, [first, *rest])
    assert first.text.startswith(f"{heads}\n\n{sentence[:7]}")
    assert all(count(chunk.text) <= size for chunk in (first, *rest))


def test_a_heading_is_not_cut_for_the_one_above_it():
    texts = [
        chunk.text for chunk in split(Document("d", "# One two three\n\n## Four five six\n\nSeven.", ""), 6, words)
    ]
    assert texts == ["# One two three\n\n", "## Four five six\n\n", "Seven."]


def test_small_sections_share_a_chunk_and_sizes_are_kept():
    text = "\n\n".join(f"## S{i}\n\n" + "word " * 20 for i in range(20))
    chunks = split(Document("d", text, ""), 64, words)
    assert all(words(chunk.text) <= 64 for chunk in chunks)
    assert len(chunks) < 20


def test_a_long_document_is_cut_quickly():
    text = "".join(f"## Section {i}\n\n{'word ' * 50}\n\n" for i in range(1000))
    assert len(split(Document("d", text, ""), 60, words)) == 1000
