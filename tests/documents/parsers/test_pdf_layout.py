"""Where the words of a page stand decides what they are: columns, tables, or neither."""

import pytest

from lorag.documents.parsers.pdf import parse_pdf

ROWS = [["Model", "Pressure", "Price"], ["P9", "1 bar", "EUR 1,234.50"], ["P11", "12.5 bar", "EUR 99"]]
GRID = "| Model | Pressure | Price |\n| --- | --- | --- |\n| P9 | 1 bar | EUR 1,234.50 |\n| P11 | 12.5 bar | EUR 99 |"
EDGES, TOPS = [72, 172, 272, 372], [700, 680, 660, 640]
BEFORE, AFTER = "The prices of all models hold from 4 May 2026 on.", "Lower prices are asked for by telephone."


def words(x, y, text):
    return f"BT /F 10 Tf {x} {y} Td ({text}) Tj ET\n"


def line(left, bottom, right, top):
    return f"{left} {bottom} m {right} {top} l S\n"


def cells(rows=ROWS):
    return "".join(
        words(EDGES[column] + 4, TOPS[row] - 14, text)
        for row, texts in enumerate(rows)
        for column, text in enumerate(texts)
        if text
    )


def lying(tops=TOPS):
    return "".join(line(EDGES[0], top, EDGES[-1], top) for top in tops)


def standing(edges=EDGES, bottom=TOPS[-1]):
    return "".join(line(edge, bottom, edge, TOPS[0]) for edge in edges)


def boxes(draw, inset=0):
    return "".join(
        f"{left + inset} {TOPS[-1] + 20 * row + inset} {100 - 2 * inset} {20 - 2 * inset} re {draw}\n"
        for left in EDGES[:-1]
        for row in range(3)
    )


def bars():
    across = "".join(f"{EDGES[0]} {top} {EDGES[-1] - EDGES[0]} 0.5 re f\n" for top in TOPS)
    return across + "".join(f"{edge} {TOPS[-1]} 0.5 {TOPS[0] - TOPS[-1]} re f\n" for edge in EDGES)


@pytest.fixture
def read(tmp_path, write_pdf):
    return lambda drawn: parse_pdf(tmp_path / "x.pdf", write_pdf([drawn], drawn=True)).text


@pytest.mark.parametrize(
    "lines",
    [
        lying() + standing(),
        boxes("S"),
        boxes("S", inset=1),
        bars(),
        lying(TOPS[1:-1]) + standing(EDGES[1:-1]),
        "0.9 g 72 680 300 20 re f 0 g\n" + lying() + standing(),
        f"q 2 0 0 2 0 0 cm {' '.join(line(36, top / 2, 186, top / 2) for top in TOPS)} Q\n" + standing(),
    ],
    ids=["lines", "boxes", "boxes apart", "thin boxes", "inner lines", "shaded", "scaled"],
)
def test_a_table_in_lines_is_a_grid_between_the_texts_around_it(read, lines):
    text = read(words(72, 740, BEFORE) + lines + cells() + words(72, 600, AFTER))
    assert text == f"{BEFORE}\n\n{GRID}\n\n{AFTER}"


def test_an_underline_in_a_cell_adds_no_column_and_no_row(read):
    assert read(lying() + standing() + line(74, 645, 94, 645) + cells()) == GRID


@pytest.mark.parametrize("turn", ["0 1 -1 0 800 0 cm", "0 -1 1 0 -100 500 cm", "-1 0 0 -1 600 800 cm"])
def test_a_table_may_lie_on_its_side(read, turn):
    assert read(f"{turn}\n" + lying() + standing() + cells()) == GRID


def test_merged_cells_are_filled_and_lines_in_a_cell_are_one_text(read):
    drawn = lying([700, 660, 620]) + line(172, 680, 372, 680) + standing([72, 172, 372], 620) + line(272, 620, 272, 680)
    drawn += (
        words(76, 675, "Deck") + words(220, 686, "Load in tonnes") + words(176, 666, "min") + words(276, 666, "max")
    )
    drawn += words(76, 646, "North of") + words(76, 632, "the mole") + words(176, 640, "1") + words(276, 640, "9")
    rows = ["| Deck | Load in tonnes | Load in tonnes |", "| --- | --- | --- |", "| Deck | min | max |"]
    assert read(drawn).split("\n") == [*rows, "| North of the mole | 1 | 9 |"]


def test_a_text_too_long_for_the_last_column_stays_in_its_cell(read):
    rows = [*ROWS[:2], ["P11", "12.5 bar", "EUR 99 for members of the society"]]
    assert "| P11 | 12.5 bar | EUR 99 for members of the society |" in read(lying() + standing() + cells(rows))


def test_the_lines_of_a_drawing_are_no_table(read):
    labels = words(80, 685, "May") + words(180, 665, "June")
    assert "|" not in read(words(72, 740, BEFORE) + lying() + standing() + labels)
    crossed = (
        words(150, 685, "depth over time") + words(150, 665, "wind over time") + words(240, 645, "height of waves")
    )
    assert "|" not in read(words(72, 740, BEFORE) + lying() + standing() + crossed)


@pytest.mark.parametrize(
    "lines",
    [
        "",
        lying(),
        lying([700, 680, 640]),
        lying() + standing([72, 372]),
        lying() + standing([72, 372]) + standing(EDGES, 680),
        lying() + standing([72, 372]) + line(172, 680, 172, 640) + line(272, 680, 272, 640),
    ],
    ids=["none", "between rows", "around head and end", "around rows", "in the head", "but in the head"],
)
def test_a_table_without_lines_between_columns_is_a_grid_too(read, lines):
    text = read(words(72, 740, BEFORE) + lines + cells() + words(72, 600, AFTER))
    assert text == f"{BEFORE}\n\n{GRID}\n\n{AFTER}"


def test_cells_of_several_lines_and_numbers_beside_their_title_are_in_their_row_and_column(read):
    drawn = words(72, 700, "Plan") + words(132, 712, "What a member of society") + words(132, 700, "may use")
    drawn += words(300, 700, "EUR") + words(72, 676, "Harbour") + words(132, 676, "A berth on the north side")
    drawn += words(132, 664, "with water and power") + words(345, 676, "1,200")
    drawn += words(72, 652, "Sea") + words(132, 652, "Only a buoy") + words(360, 652, "80")
    drawn += words(72, 640, "Both") + words(132, 640, "As it is") + words(345, 640, "1,250")
    assert read(drawn) == (
        "| Plan | What a member of society may use | EUR |\n| --- | --- | --- |\n"
        "| Harbour | A berth on the north side with water and power | 1,200 |\n"
        "| Sea | Only a buoy | 80 |\n| Both | As it is | 1,250 |"
    )


def test_two_titles_around_a_column_of_numbers_are_both_kept(read):
    drawn = words(72, 700, "Plan") + words(150, 700, "Rate") + words(250, 700, "Note")
    rows = [words(72, 686 - 14 * at, "Harbour") + words(200, 686 - 14 * at, "12 %") for at in range(4)]
    text = read(drawn + "".join(rows))
    assert [text.count(word) for word in ("Plan", "Rate", "Note", "12 %")] == [1, 1, 1, 4]


def test_a_line_between_rows_parts_what_could_be_one_cell(read):
    rows = [["Kind", "Pressure", "Price"], ["Pumps of the year", "", ""], ["Gauges of the past", "2 bar", "EUR 5"]]
    rows.append(["Valves", "3 bar", "EUR 6"])
    drawn = "".join(line(72, 699 - 13 * at, 372, 699 - 13 * at) for at in range(5))
    pairs = [
        (EDGES[column], 690 - 13 * row, text) for row, texts in enumerate(rows) for column, text in enumerate(texts)
    ]
    drawn += "".join(words(*pair) for pair in pairs if pair[2])
    assert [each.strip("| ").split(" | ")[0] for each in read(drawn).split("\n")] == [
        *("Kind", "---", "Pumps of the year", "Gauges of the past", "Valves")
    ]


def test_a_page_may_end_after_the_first_row_of_a_table(read):
    text = read(words(72, 740, BEFORE) + "BT /F 12 Tf 76 698 Td (Tariff) Tj ET\n" + cells(ROWS[:2]))
    assert text == f"{BEFORE}\nTariff\n\n" + "\n".join(GRID.split("\n")[:3])


def test_the_body_of_a_page_in_a_frame_is_read_once(read):
    frame = lying([760, 730, 400]) + standing([72, 540], 400) + line(72, 760, 72, 700) + line(540, 760, 540, 700)
    heads = line(300, 730, 300, 760) + words(80, 740, "Harbour society") + words(310, 740, "Rules of 4 May 2026")
    body = [text for column in NEWS for text in column]
    text = read(frame + heads + "".join(words(80, 700 - 14 * at, each) for at, each in enumerate(body)))
    assert said(text)[-len(body) :] == body
    assert text.count("Rules of 4 May") == 1


def test_columns_between_rulings_are_no_cells(read):
    drawn = line(60, 730, 540, 730) + line(300, 755, 300, 400)
    drawn += words(72, 740, "Harbour news") + words(312, 740, "4 May 2026")
    left, right = NEWS[0] * 4, NEWS[2] * 4
    for at, pair in enumerate(zip(left, right, strict=True)):
        drawn += "".join(words(x, 710 - 14 * at, text) for x, text in zip((72, 312), pair, strict=True))
    text = read(drawn)
    assert "|" not in text
    assert "\n".join(right) in "\n".join(said(text))


SETTINGS = [
    ("request_timeout_seconds", "seconds until a request ends"),
    ("retry_count", "how often a request that failed is sent once more to the same host"),
    ("retry_wait_seconds", "time between two tries"),
    ("connections_per_host", "connections that stay open while no request needs them"),
    ("proxy_host_and_port", "where requests go first"),
    ("log_each_request", "whether a line is written for each request"),
]
LIMITS = [
    ("most_seconds_per_request", "the time in seconds after which a request ends"),
    ("most_requests_at_a_time", "how many requests are answered at the same time"),
    ("most_requests_that_wait", "how many requests wait until one of them is done"),
    ("most_letters_per_request", "how many letters the text of a request may have"),
]


@pytest.mark.parametrize("rows", [SETTINGS, LIMITS])
def test_long_cells_in_small_letters_are_read_row_by_row(read, rows):
    drawn = [
        words(x, 700 - 14 * at, text) for at, row in enumerate(rows) for x, text in zip((72, 230), row, strict=True)
    ]
    assert read("".join(drawn)).replace("\\", "").split("\n")[2:] == [
        f"| {key} | {meaning} |" for key, meaning in rows[1:]
    ]


RISKS = [
    (("the crane may tip over in", "a strong wind from north"), ("nobody may use it above", "eight knots of wind")),
    (("the quay may be iced and", "slippery for passengers"), ("the crew spreads sand on", "it before each landing")),
    (("the pumps may be without", "power in a winter storm"), ("a generator is tested on", "every second monday")),
]


@pytest.mark.parametrize("rulings", [[708, 681, 653, 625], [681, 653]])
def test_rows_between_rulings_are_no_columns(read, rulings):
    drawn = "".join(line(72, y, 372, y) for y in rulings)
    for at, row in enumerate(RISKS):
        drawn += "".join(
            words(x, 700 - 28 * at - 12 * low, text)
            for x, cell in zip((72, 232), row, strict=True)
            for low, text in enumerate(cell)
        )
    rows = [f"| {' '.join(left)} | {' '.join(right)} |" for left, right in RISKS]
    assert read(drawn).split("\n") == [rows[0], "| --- | --- |", *rows[1:]]


def test_columns_of_a_page_with_a_ruled_head_and_foot_stay_columns(read):
    left, right = NEWS[0] * 4, NEWS[2] * 4
    drawn = line(60, 720, 540, 720) + line(60, 450, 540, 450) + words(72, 730, "Harbour") + words(400, 730, "May 2026")
    drawn += words(72, 430, "Society") + words(400, 430, "page 3")
    for at, pair in enumerate(zip(left, right, strict=True)):
        drawn += "".join(words(x, 700 - 14 * at, text) for x, text in zip((72, 312), pair, strict=True))
    assert "\n".join(right) in "\n".join(said(read(drawn)))


def test_a_word_divided_at_the_end_of_a_line_is_whole_beside_another_column(read):
    left = [*NEWS[0], *NEWS[1]]
    right = [
        "The depth of the water is mea-",
        "sured at the quay each day,",
        *NEWS[2],
        "and on the mole in summer",
        "too.",
    ]
    drawn = [
        (x, 700 - 14 * at, text)
        for at, pair in enumerate(zip(left, right, strict=True))
        for x, text in zip((72, 312), pair, strict=True)
    ]
    assert "The depth of the water is measured at the quay" in read("".join(words(*each) for each in drawn))


def test_a_first_row_with_an_amount_is_no_title_of_the_next_column(read):
    rows = [["1 May", "Berth", "120.50", "", "900.00"], ["2 May", "Gift", "", "30.00", "930.00"]]
    rows += [["3 May", "Sale", "", "15.00", "945.00"], ["4 May", "Sale", "", "25.00", "970.00"]]
    places = [
        (x, 700 - 14 * at, text)
        for at, row in enumerate(rows)
        for x, text in zip((72, 132, 192, 272, 352), row, strict=True)
        if text
    ]
    lines = read("".join(words(*place) for place in places)).split("\n")
    assert lines[0] == "| 1 May | Berth | 120.50 |  | 900.00 |"
    assert lines[2] == "| 2 May | Gift |  | 30.00 | 930.00 |"


LISTED = [("1.", "Open valve A"), ("2.", "Close valve B"), ("3.", "Wait"), ("4.", "Read the gauge")]
ADDRESSES = [("Kim Berg", "Harbour Office"), ("Mole Road 4", "Quay 1"), ("Korrin", "Korrin"), ("Tel. 12", "Tel. 34")]


SPARSE = [(0, 1), (2, 3), (0, 2), (1, 3), (0, 3), (1, 2)]
LABELS = [
    ("Harbour office", "12"),
    *((name,) for name in ("Mole", "Quay", "Light", "Dock")),
    ("Sea", "34"),
    ("Sand", "5"),
]


def test_words_that_only_happen_to_stand_below_each_other_are_no_tables(read):
    places = [(72 + 110 * column, 700 - 24 * at, "words") for at, row in enumerate(SPARSE) for column in row]
    assert "|" not in read("".join(words(*place) for place in places))
    labels = [
        words(72 + 200 * at, 700 - 24 * row, text) for row, texts in enumerate(LABELS) for at, text in enumerate(texts)
    ]
    assert "|" not in read("".join(labels))


def test_lists_and_addresses_beside_each_other_are_no_tables(read):
    items = [
        words(x, 700 - 14 * at, text) for at, item in enumerate(LISTED) for x, text in zip((72, 100), item, strict=True)
    ]
    assert "|" not in read("".join(items))
    counted = [
        words(x, 700 - 14 * at, text)
        for at, (_, item) in enumerate(LISTED)
        for x, text in ((72, str(at + 7)), (100, item))
    ]
    assert "|" not in read("".join(counted))
    beside = [
        words(x, 700 - 14 * at, pair[side]) for side, x in enumerate((72, 300)) for at, pair in enumerate(ADDRESSES)
    ]
    assert read("".join(beside)).split("\n") == [pair[side] for side in (0, 1) for pair in ADDRESSES]


NEWS = [
    ["The keeper of the light lives", "in a small house on the rock", "and rows to the town on", "every second day."],
    ["A ferry leaves the quay at", "eight and comes back when", "the tide allows it, which", "is late in winter."],
    ["Visitors stay in one of the", "four houses at the end of", "the mole, which are let by", "the harbour office."],
]


def columns(top, lefts, texts=NEWS):
    """Drawn across, line by line, as some programs do."""
    pairs = [(left, top - 14 * at, column[at]) for at in range(4) for left, column in zip(lefts, texts, strict=False)]
    return "".join(words(*pair) for pair in pairs)


def said(text):
    return [each.strip() for each in text.split("\n") if each.strip()]


@pytest.mark.parametrize(
    "title",
    [(72, "Harbour news of the whole town, the islands and the coast around them, 4 May"), (270, "Harbour news")],
)
def test_three_columns_below_a_title_are_read_one_after_the_other(read, title):
    text = read(words(title[0], 740, title[1]) + columns(700, (72, 232, 392)) + words(298, 60, "17"))
    assert said(text) == [title[1], *NEWS[0], *NEWS[1], *NEWS[2], "17"]


def test_a_page_may_have_columns_of_two_widths_and_text_across_between_them(read):
    across = "Prices hold from 4 May 2026 on, and are lower for members of the society of the old light."
    drawn = columns(700, (72, 330)) + words(72, 620, across) + columns(590, (72, 232, 392), NEWS[::-1])
    assert said(read(drawn)) == [*NEWS[0], *NEWS[1], across, *NEWS[2], *NEWS[1], *NEWS[0]]


def test_a_line_a_little_too_long_does_not_end_the_columns(read):
    left = [*NEWS[0][:2], "and rows with two oars over to the town", *NEWS[2]]
    right = [*NEWS[1][:2], "", *NEWS[1][2:], *NEWS[2][:2]]
    sides = [(x, 700 - 14 * at, side[at]) for at in range(7) for x, side in ((72, left), (230, right)) if side[at]]
    assert said(read("".join(words(*each) for each in sides))) == [*left, *filter(None, right)]


def test_a_table_in_a_column_stays_between_its_texts(read):
    drawn = columns(760, (72, 420), NEWS) + lying() + standing() + cells() + columns(600, (72, 420), NEWS[1:])
    assert said(read(drawn)) == [*NEWS[0], *GRID.split("\n"), *NEWS[1], *NEWS[1], *NEWS[2]]
