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
    mail.add_alternative("<h2>plain words</h2>", subtype="html")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="plan.pdf")
    mail.add_attachment(message("inner"))
    parsed = parse_mail(tmp_path / "x.eml", mail.as_bytes())
    assert "\n\nplain words\n\n" in parsed.text
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
    for plain in ("", "Your program shows no pages. Please open this message in another mail program."):
        mail = message()
        mail.set_content(plain)
        mail.add_alternative("<p>The slipway closes at 19:40.</p>", subtype="html")
        assert parse_mail(tmp_path / "x.eml", mail.as_bytes()).text.endswith("\n\nThe slipway closes at 19:40.")


def test_a_program_form_of_the_page_is_not_read(tmp_path):
    mail = message()
    mail.set_content("The slipway closes.")
    mail.add_alternative("<html amp4email><style amp4email-boilerplate>a{}</style>", subtype="x-amp-html")
    mail.add_alternative("<p>The slipway closes at 19:40.</p>", subtype="html")
    assert parse_mail(tmp_path / "x.eml", mail.as_bytes()).text.endswith("\n\nThe slipway closes at 19:40.")


def test_a_short_hint_with_a_figure_does_not_replace_the_text(tmp_path):
    mail = message()
    mail.set_content("This message needs an HTML mail program. Help: 0800 555 010")
    mail.add_alternative("<p>The slipway stays closed until Friday because the crane is broken.</p>", subtype="html")
    text = parse_mail(tmp_path / "x.eml", mail.as_bytes()).text
    assert text.endswith("010\n\nThe slipway stays closed until Friday because the crane is broken.")


def test_of_two_long_forms_the_richer_is_read(tmp_path):
    letters = [f"{letter}{other}" for letter in "abcdefgh" for other in "klmnopqr"]
    for plain, page in ((letters[:40], letters[:60]), (letters[:60], letters[20:40]), (letters[:60], letters[50:])):
        mail = message()
        mail.set_content(" ".join(plain))
        mail.add_alternative(f"<p>{' '.join(page)}</p>", subtype="html")
        parsed = parse_mail(tmp_path / "x.eml", mail.as_bytes())
        missed = len(set(page) - set(plain)) if len(plain) > len(page) else 0
        assert parsed.text.split("\n\n")[-1].split() == (plain if len(plain) > len(page) else page)
        notes = (f"has {missed} words in another form of its text that were not read",) if missed else ()
        assert parsed.notes == notes


def test_of_two_short_forms_both_are_read_if_they_differ(tmp_path):
    mail = message()
    mail.set_content("We meet at the quay.")
    mail.add_alternative("<p>Open this in the browser.</p>", subtype="html")
    text = parse_mail(tmp_path / "x.eml", mail.as_bytes()).text
    assert text.endswith("\n\nWe meet at the quay.\n\nOpen this in the browser.")


TABLE = "<p>Prices of the quay.</p><table><tr><th>Berth<th>Rate<tr><td>North<td>15.30</table>"


def test_what_only_the_html_holds_is_not_lost(tmp_path):
    mail = message()
    mail.set_content("Prices of the quay. See https://korrin.example/a/b/c/d/e/f/g/h/i below: Berth, Rate, North.")
    mail.add_alternative(TABLE, subtype="html")
    parsed = parse_mail(tmp_path / "x.eml", mail.as_bytes())
    assert parsed.text.endswith("\n\nPrices of the quay.\n\n| Berth | Rate |\n| --- | --- |\n| North | 15.30 |")
    assert parsed.notes == ()


def test_the_plain_text_is_read_where_the_html_is_a_picture(tmp_path):
    mail = message()
    mail.set_content("The slipway closes at 19:40 from May on.")
    mail.add_alternative('<img src="cid:a" alt=""><p>In the browser</p>', subtype="html")
    parsed = parse_mail(tmp_path / "x.eml", mail.as_bytes())
    assert parsed.text.endswith("The slipway closes at 19:40 from May on.\n\nIn the browser")
    assert parsed.notes == ()


@pytest.mark.parametrize("texts", [("plain", "html"), ("plain",), ("html",)])
def test_an_appointment_does_not_replace_the_text(tmp_path, texts):
    mail = message()
    given = {"plain": "Meet at dock B at 9:30.", "html": "<p>Meet at dock <b>B</b> at 9:30.</p>"}
    mail.set_content(given[texts[0]], subtype=texts[0])
    for kind in texts[1:]:
        mail.add_alternative(given[kind], subtype=kind)
    mail.add_alternative("BEGIN:VCALENDAR\nSUMMARY:Meet\nDESCRIPTION:Meet at dock B, 9:30 or later", subtype="calendar")
    parsed = parse_mail(tmp_path / "x.eml", mail.as_bytes())
    assert parsed.text.endswith("Attachments: text/calendar\n\nMeet at dock B at 9:30.")
    assert "VCALENDAR" not in parsed.text
    assert parsed.notes == ("has attachments that were not read: text/calendar; save them as files beside it",)


@pytest.mark.parametrize("disposition", ["attachment", "attachment; filename=a.txt", "inline; filename=a.txt"])
def test_an_attached_text_needs_no_name(tmp_path, disposition):
    parts = [("text/plain", "inline", "See attachment."), ("text/plain", disposition, "Depth at dock B is 6 m.")]
    head = 'Subject: x\nContent-Type: multipart/mixed; boundary="b"\n\n'
    body = "".join(f"--b\nContent-Type: {kind}\nContent-Disposition: {how}\n\n{text}\n" for kind, how, text in parts)
    for given in (body, body.partition("See attachment.\n")[2]):
        text = parse_mail(tmp_path / "x.eml", f"{head}{given}--b--\n".encode()).text
        title = "a.txt" if "a.txt" in disposition else "Attachment"
        assert text.endswith(f"## {title}\n\nDepth at dock B is 6 m.")


def test_a_mail_that_is_nothing_but_an_attachment_names_it(tmp_path):
    mail = message()
    mail.set_content(b"%PDF", maintype="application", subtype="pdf", filename="plan.pdf")
    parsed = parse_mail(tmp_path / "x.eml", mail.as_bytes())
    assert parsed.text.endswith("Attachments: plan.pdf")
    assert len(parsed.notes) == 1


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
