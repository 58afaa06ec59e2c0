import time
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from lorag.documents.pages.arrangement import arranged
from lorag.documents.pages.letters import Letter

POINTS = st.integers(0, 60).map(lambda at: at * 10)
WORDS = st.lists(st.tuples(POINTS, POINTS, st.integers(1, 20)), max_size=8)
COUNTS = st.lists(st.integers(0, 15) | st.just(6), min_size=30, max_size=30)


def placed(words):
    """Letters that are all different, 6 points wide, with a blank that nobody drew between words."""
    letters: list[Letter] = []
    for left, bottom, count in words:
        letters += [Letter(" ", (0, 0, 0, 0), is_drawn=False)] if letters else []
        for at in range(count):
            sign = chr(0x4E00 + len(letters))
            letters.append(Letter(sign, (left + 6 * at, bottom, left + 6 * at + 6, bottom + 10)))
    return letters


def box(left, bottom, size, lies):
    return (left, bottom, left + size, bottom) if lies else (left, bottom, left, bottom + size)


def sides(columns, rows):
    """The sides of every place of a table, of 100 by 20 points."""
    lying = [box(100 * column, 20 * row, 100, True) for row in range(rows + 1) for column in range(columns)]
    return lying + [box(100 * column, 20 * row, 20, False) for row in range(rows) for column in range(columns + 1)]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), COUNTS, WORDS, st.sets(st.integers(0, 70), max_size=5), st.booleans())
def test_every_letter_is_kept_and_in_one_place_only(columns, rows, counts, words, missing, has_lines):
    cells = [(100 * column + 4, 20 * row + 5) for row in reversed(range(rows)) for column in range(columns)]
    letters = placed([*((*cell, count) for cell, count in zip(cells, counts, strict=False) if count), *words])
    lines = [line for number, line in enumerate(sides(columns, rows)) if number not in missing]
    blocks = arranged(letters, lines if has_lines else [])
    if blocks:
        in_table = set if has_lines and missing else list  # the text of a merged cell is repeated
        texts = [block if isinstance(block, str) else "".join(in_table(chain(*block))) for block in blocks]
        assert sorted("".join("".join(texts).split())) == sorted(letter.sign for letter in letters if letter.is_drawn)


def test_a_page_of_very_many_letters_and_lines_takes_seconds():
    scattered = placed((at * 37 % 600, at * 53 % 800, 5) for at in range(4000))
    lines = [box(at * 31 % 600, at * 17 % 800, 30, at % 2 == 0) for at in range(8000)]
    start = time.process_time()
    arranged(scattered, lines)
    arranged(placed((at % 2 * 300, 8000 - at, 30) for at in range(600)), [])
    sparse = [(60 * (at % 10 * 2 + at // 10 % 2), 8000 - at // 10 * 20, 3) for at in range(3000)]
    arranged(placed(sparse), [])
    assert time.process_time() - start < 10
