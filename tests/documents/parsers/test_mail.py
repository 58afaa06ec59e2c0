from email.message import EmailMessage

import pytest

from lorag.documents.parsers.mail import parse_mail, parse_web_archive
from lorag.errors import DataError


def message(subject="Warranty of the gauge"):
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = subject, "Mara Lind <mara@korrin.example>", "help@korrin.example"
    mail["Date"] = "Mon, 05 Oct 2026 10:00:00 +0000"
    return mail


def test_headers_and_body_are_read(tmp_path):
    mail = message("Гарантия")
    mail.set_content("It lasts 28 months.\n# not a heading\n")
    parsed = parse_mail(tmp_path / "x.eml", mail.as_bytes())
    assert parsed.title == "Гарантия"
    assert parsed.text == (
        "# Гарантия\n\nFrom: Mara Lind <mara@korrin.example>\nTo: help@korrin.example\n"
        "Date: Mon, 05 Oct 2026 10:00:00 +0000\n\nIt lasts 28 months.\n\\# not a heading"
    )
    assert parsed.notes == ()


def test_plain_text_is_preferred_and_attachments_are_named(tmp_path):
    mail = message()
    mail.set_content("plain words")
    mail.add_alternative("<p>html words</p>", subtype="html")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="plan.pdf")
    mail.add_attachment(message("inner"))
    parsed = parse_mail(tmp_path / "x.eml", mail.as_bytes())
    assert "plain words" in parsed.text
    assert "html words" not in parsed.text
    assert "Attachments: plan.pdf\n" in parsed.text
    assert "## inner" in parsed.text
    assert parsed.notes == ("has attachments that were not read: plan.pdf; save them as files beside it",)


def test_html_becomes_markdown(tmp_path):
    mail = message()
    mail.set_content("<h2>Power</h2><table><tr><th>a<th>b<tr><td>1<td>2</table>", subtype="html", charset="cp1251")
    parsed = parse_mail(tmp_path / "x.eml", mail.as_bytes())
    assert "## Power" in parsed.text
    assert "| 1 | 2 |" in parsed.text


def test_a_charset_that_is_false_loses_nothing(tmp_path):
    data = (
        b"Subject: x\nContent-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 8bit\n\n"
        + "größer – é".encode()
    )
    assert "größer – é" in parse_mail(tmp_path / "x.eml", data).text


@pytest.mark.parametrize("data", [b"no mail at all", b"\n\nbody"])
def test_what_is_no_mail_is_refused(tmp_path, data):
    with pytest.raises(DataError, match="has no mail headers"):
        parse_mail(tmp_path / "x.eml", data)


def test_long_headers_are_read_as_they_stand(tmp_path):
    receivers = ", ".join(f"=?utf-8?q?J=C3=B6rg_{n}?= <a{n}@b.example>" for n in range(400))
    lines = ["Subject: Offer", f"To: {receivers}", f"Content-Type: text/plain; {'[' * 30_000}", "", "The price is 5."]
    text = parse_mail(tmp_path / "x.eml", "\n".join(lines).encode()).text
    assert "a0@b.example" in text
    assert "a399@b.example" in text
    assert text.endswith("The price is 5.")


def test_the_html_is_read_where_the_plain_text_only_points_to_it(tmp_path):
    for plain in ("", "Your program shows no pages."):
        mail = message()
        mail.set_content(plain)
        mail.add_alternative("<p>The slipway closes at 19:40.</p>", subtype="html")
        assert parse_mail(tmp_path / "x.eml", mail.as_bytes()).text.endswith("The slipway closes at 19:40.")


def test_a_page_that_was_saved_with_its_pictures_is_read_as_a_page(tmp_path):
    page = message()
    page.replace_header("Subject", "The slipway")
    page.set_content("<h1>Slipway</h1><p>It closes at 19:40 – daily.</p>", subtype="html", cte="quoted-printable")
    page.add_related(b"\x89PNG", "image", "png", cid="<a>")
    parsed = parse_web_archive(tmp_path / "x.mht", page.as_bytes())
    assert (parsed.title, parsed.text) == ("The slipway", "# Slipway\n\nIt closes at 19:40 – daily.")
    assert parsed.notes == ()
    page.attach(EmailMessage())
    page.get_payload()[-1].set_content('<p>Frame</p><img src="b.png"><img src="c.png">', subtype="html")
    page.get_payload()[0].set_content('<h1>Slipway</h1><img src="cid:a">', subtype="html")
    assert parse_web_archive(tmp_path / "x.mht", page.as_bytes()).notes == (
        "has 3 pictures, of which only the alternative text was read",
    )
    with pytest.raises(DataError, match="holds no web page"):
        parse_web_archive(tmp_path / "x.mht", b"words")


def test_attached_texts_are_read(tmp_path):
    mail = message()
    mail.set_content("See attachment.")
    mail.add_attachment("Depth at dock B is 6 m.", filename="depth.txt")
    mail.add_attachment("<p>Dock <b>C</b></p>", subtype="html", filename="c.html")
    mail.add_attachment("BEGIN:VCALENDAR", subtype="calendar", filename="a.ics")
    parsed = parse_mail(tmp_path / "x.eml", mail.as_bytes())
    assert parsed.text.endswith("See attachment.\n\n## depth.txt\n\nDepth at dock B is 6 m.\n\n## c.html\n\nDock C")
    assert parsed.notes == ("has attachments that were not read: a.ics; save them as files beside it",)


def test_markdown_keeps_its_headings(tmp_path):
    data = "data:image/png;base64," + "iVBORw0KGgo" * 300
    mail = message()
    mail.set_content(f"Depths\n======\n\n![the lead]({data})\n\n## Dock B\n\n6 m.", subtype="markdown")
    mail.add_attachment("# Dock C\n\n7 m.", subtype="markdown", filename="c.md")
    parsed = parse_mail(tmp_path / "x.eml", mail.as_bytes())
    assert parsed.text.endswith("\n\n# Depths\n\nthe lead\n\n## Dock B\n\n6 m.\n\n## c.md\n\n# Dock C\n\n7 m.")
    assert parsed.notes == ("holds pictures as data in its text, of which only the alternative text was read",)
