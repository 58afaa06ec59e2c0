import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html  # type: ignore[import-untyped]

from lorag.documents.parsers.html import parse_html
from lorag.documents.parsers.markup.page_markdown import markdown
from lorag.errors import DataError

PAGE = """<!doctype html><html><head><title>Returns &amp; refunds
 | Shop</title><style>p {}</style></head><body>
<nav><ul><li><a href="/">Home</a></li></ul></nav>
%s
<footer><p>Copyright <a href="/imprint">Imprint</a></p></footer><script>x = 1</script></body></html>"""
CONTENT = """<h1>Returns</h1><p>Send it back within thirty days – é.</p><h2>Prices</h2>
<table><tr><th>Plan</th><th>Price</th></tr><tr><td>Harbour</td><td>12 EUR</td></tr></table>"""


def parse(tmp_path, page):
    return parse_html(tmp_path / "page.html", page if isinstance(page, bytes) else page.encode())


@pytest.mark.parametrize(
    "wrapping", ["%s", "<main>%s</main>", "<div><div>%s</div></div>", "<main><article>%s</article></main>"]
)
def test_headings_and_tables_are_kept_and_navigation_is_dropped(tmp_path, wrapping):
    parsed = parse(tmp_path, PAGE % wrapping % CONTENT)
    assert parsed.title == "Returns & refunds | Shop"
    assert parsed.text.startswith("# Returns\n\nSend it back within thirty days – é.\n\n## Prices\n")
    assert "| Harbour | 12 EUR |" in parsed.text
    for dropped in ("Home", "Imprint", "x = 1"):
        assert dropped not in parsed.text


def test_every_article_of_a_page_is_read(tmp_path):
    page = PAGE % "<article><h1>One</h1><p>first</p></article><article><h1>Two</h1><p>second</p></article>"
    assert parse(tmp_path, page).text == "# One\n\nfirst\n\n# Two\n\nsecond"


def test_a_page_may_declare_another_encoding_than_it_has(tmp_path):
    parsed = parse(tmp_path, '<?xml version="1.0" encoding="latin-1"?><p>Привет, é</p>')
    assert (parsed.text, parsed.title) == ("Привет, é", "")


@pytest.mark.parametrize("meta", ['charset="windows-1251"', 'http-equiv="x" content="text/html; charset=windows-1251"'])
def test_a_page_is_read_in_the_encoding_that_it_declares(tmp_path, meta):
    parsed = parse(tmp_path, f"<html><head><meta {meta}></head><p>Да".encode("cp1251"))
    assert (parsed.text, parsed.notes) == ("Да", ())


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<!-- nothing -->",
        "<body><script>x</script></body>",
        "<html><head><title>t</title></head></html>",
        "<frameset></frameset>",
    ],
)
def test_a_page_without_text_is_refused(tmp_path, page):
    with pytest.raises(DataError, match="no text found in this page"):
        parse(tmp_path, page)


def test_all_text_of_a_page_is_read_and_spanned_cells_are_filled(tmp_path):
    page = """<main><h2>Warnings</h2><aside class="related-notes">Keep clear.</aside>
    <figure><img src="data:image/png;base64,AAAA" alt="a red lamp"><figcaption>Fig. 2</figcaption></figure>
    <ol><li>Open it.<table><tr><th>Dial<th>Turns<tr><td>low<td>3</table></li></ol>
    <table><tr><th rowspan=2>Dock<th colspan=2>Depth<tr><th>low<th>high<tr><td>A<td>4<td>6</table></main>"""
    text = parse(tmp_path, page).text
    for part in ("Keep clear.", "a red lamp", "Fig. 2", "| low | 3 |", "| Dock | Depth | Depth |\n| --- | --- | --- |"):
        assert part in text
    assert "| Dock | low | high |\n| A | 4 | 6 |" in text
    assert "base64" not in text


def test_what_a_click_opens_is_read_and_what_is_hidden_is_noted(tmp_path):
    page = """<h2><button>How long is the mole?</button></h2><div hidden="until-found">212 m.</div>
    <div role="tabpanel" hidden>On Linux.</div>"""
    assert parse(tmp_path, page).text == "## How long is the mole?\n\n212 m.\n\nOn Linux."
    assert parse(tmp_path, page).notes == ()
    parsed = parse(tmp_path, page + '<div hidden> </div><p style="display: none">draft</p>')
    assert "draft" not in parsed.text
    assert parsed.notes == ("has hidden text, which was not read",)


def test_a_heading_in_front_of_main_is_read_and_other_words_there_are_counted(tmp_path):
    page = """<nav><h1>Menu</h1></nav><header><h1>The <b>mole</b></h1><p>Since 1907.</p></header>
    <main>%s<p>It is 212 m long.</p></main><aside><p>Related: the quay</p></aside><footer>Imprint</footer>"""
    parsed = parse(tmp_path, page % "")
    assert parsed.text == "# The mole\n\nIt is 212 m long."
    assert parsed.notes == ("has 5 words outside its main element, which were not read",)
    parsed = parse(tmp_path, page % "<h1>Length</h1>")
    assert parsed.text == "# Length\n\nIt is 212 m long."
    assert parsed.notes == ("has 7 words outside its main element, which were not read",)
    assert parse(tmp_path, "<nav>Home</nav><main><p>All.</p></main><footer>Imprint</footer>").notes == ()


def test_pictures_are_counted(tmp_path):
    page = """<p>Dock</p><img src="a.png" alt="a red lamp"><nav><img src="logo.png"></nav><img src="line.png" alt="">
    <p hidden><img src="c.png"></p>"""
    assert parse(tmp_path, page).notes == ("has 1 picture, of which only the alternative text was read",)
    assert parse(tmp_path, page + "<img src=d.png>").notes[0].startswith("has 2 pictures, of which")


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            "<table><tr><th>Limit<td>5 bar<br>max<tr><th>Test<td>7 bar</table>",
            "| Limit | 5 bar max |\n| --- | --- |\n| Test | 7 bar |",
        ),
        ("<h2>Pump<br/>and valve</h2>", "## Pump and valve"),
        ("<pre>open<br>close</pre>", "```\nopen\nclose\n```"),
        ("<p>open<br>close</p>", "open\nclose"),
    ],
)
def test_a_line_break_divides_words(tmp_path, page, text):
    assert parse(tmp_path, page).text == text


def test_powers_and_fractions_keep_their_value(tmp_path):
    page = """<p>10<sup>2.5</sup> Pa, 10<sup>3</sup> m<sup>2</sup>, 1<sup>st</sup>, CO<sub>2</sub>, T<sub>max</sub>,
    <math><msup><mn>10</mn><mi>e</mi></msup><mo>+</mo><mfrac><mn>1</mn><mn>2</mn></mfrac><mo>-</mo><msubsup><mi>x</mi>
    <mn>1</mn><mn>2</mn></msubsup><annotation>\\frac</annotation></math></p>"""
    assert parse(tmp_path, page).text == "10^2.5 Pa, 10³ m², 1st, CO₂, Tmax, 10^e+1/2-x₁²"


def test_a_formula_and_footnote_marks_keep_other_numbers_as_they_are(tmp_path):
    page = """<p>3 <math><mn>3</mn><mfrac><mn>1</mn><mn>2</mn></mfrac></math>, 10<sup>2.5</sup>3, mole<sup>1,2</sup>,
    quay<sup>1–3</sup>, 10<sup>1,2</sup></p>"""
    assert parse(tmp_path, page).text == "3 3 1/2, 10^2.5 3, mole1,2, quay1–3, 10^1,2"


def test_of_a_switch_in_a_drawing_only_the_first_child_is_read(tmp_path):
    switch = "<switch><!-- a --><foreignObject><div>Feed pump</div></foreignObject><text>Feed pump</text></switch>"
    assert parse(tmp_path, f"<p>Plan</p><svg><g>{switch}</g><text>valve</text></svg>").text == "Plan\n\nFeed pump valve"


@pytest.mark.parametrize("kind", ["time", "url", "month", "search", "text", "week", "datetime-local", "submit"])
def test_what_stands_in_a_field_is_read(tmp_path, kind):
    assert parse(tmp_path, f'<p>Opens <input type="{kind}" value="07:30"></p>').text == "Opens 07:30"


@pytest.mark.parametrize("kind", ["hidden", "password", "file"])
def test_what_no_reader_sees_in_a_field_is_not_read(tmp_path, kind):
    assert parse(tmp_path, f'<p>Opens <input type="{kind}" value="07:30"></p>').text == "Opens"


def test_menus_and_drawings_show_what_a_reader_sees_and_the_rest_is_noted(tmp_path):
    page = """<p>Bore <select><optgroup label="small"><option>DN25<option>DN32</optgroup><option selected>DN50</select>
    of <select><option>steel<option>brass</select></p><svg><title>Flow</title><defs><text>unused</text></defs><style>a{}
    </style><g><text>12 l<tspan x="0" dy="1em">per minute</tspan></text></g></svg>"""
    parsed = parse(tmp_path, page)
    assert parsed.text == "Bore DN50 of steel\n\nFlow 12 l per minute"
    assert parsed.notes == ("has 3 options in menus that were not chosen and not read",)
    assert parsed.title == ""


def test_what_is_embedded_or_for_other_browsers_is_noted(tmp_path):
    page = """<p>Plan</p><iframe src="a.html"></iframe><object data="b.pdf">No PDF here</object>
    <div style="display:none"><iframe src="c.html"></iframe></div>"""
    parsed = parse(tmp_path, page)
    assert (parsed.text, parsed.notes) == ("Plan", ("has 2 embedded objects, which were not read",))
    parsed = parse(tmp_path, "<p>Plan</p><noscript>Turn scripts on.</noscript>")
    assert (parsed.text, parsed.notes) == ("Plan", ("has hidden text, which was not read",))


TAGS = """div p span b sup del h2 h5 ul ol li dl dt dd table tr td th pre code aside figure figcaption header label
details summary blockquote section article form button a"""
NODES = st.recursive(
    st.just("word"),
    lambda inner: st.tuples(
        st.sampled_from(TAGS.split()),
        st.lists(inner, max_size=4),
    ),
    max_leaves=25,
)


def page_of(node, words):
    if node == "word":
        words.append(f"w{len(words)}x")
        return f" {words[-1]} "
    tag, inner = node
    return f"<{tag}>{''.join(page_of(each, words) for each in inner)}</{tag}>"


@given(NODES)
def test_every_word_of_a_page_is_read_once(node):
    words: list[str] = []
    page = f"<body>{page_of(node, words)}</body>"
    tree = html.document_fromstring(page)
    assert sorted(re.findall(r"w\d+x", markdown(tree))) == sorted(words)


def test_xhtml_says_its_encoding_and_holds_literal_text(tmp_path):
    page = (
        '<?xml version="1.0" encoding="iso-8859-2"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/>'
        '<script src="a.js"/></head><body><p>Łódź &nbsp;<a id="x"/>5</p><p><![CDATA[if a<b>c]]> ends</p></body></html>'
    )
    assert parse(tmp_path, page.encode("iso-8859-2")).text == "Łódź \xa05\n\nif a<b>c ends"
