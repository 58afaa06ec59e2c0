"""Only the key opens, and without one only this machine's own programs; no page of another site is let in."""

import openai
import pytest

from lorag.chat.bot import ChatBot
from lorag.errors import InputError
from lorag.llm.engines.scripted import ScriptedModel
from lorag.serving.admission import require_origins
from lorag.serving.routes import Service, by_name
from lorag.serving.server import listen

APP = "https://app.example"


@pytest.fixture(scope="module")
def small(serve):
    return serve(Service(by_name(ChatBot(ScriptedModel(lambda prompt: "Yes.")))))


@pytest.fixture(scope="module")
def locked(serve):
    return serve(Service(by_name(ChatBot(ScriptedModel(lambda prompt: "Yes."))), key="a secret", origins=(APP,)))


def test_only_the_key_opens(locked):
    for headers in ({}, {"Authorization": "Bearer a secre"}, {"Authorization": "a secret"}):
        status, body = locked.send("GET", "/v1/models", **headers)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert locked.send("GET", "/v1/models", Authorization="Bearer a secret", Host="shop.example")[0] == 200
    assert locked.send("GET", "/health")[0] == 200
    with openai.OpenAI(base_url=locked.url, api_key="a secret", max_retries=0) as client:
        assert len(list(client.models.list())) == 1


HERE = ("127.0.0.1", "127.0.0.1:8000", "localhost", "LocalHost:1", "[::1]:8000")
ELSEWHERE = """
    evil.example evil.example:8000 127.0.0.1:evil.com evil.com\\@127.0.0.1 a@127.0.0.1 127.0.0.1@evil.com
    localhost.evil.com 127.0.0.1.evil.com 127.0.0.1:80:80 127.0.0.1:8000/ ::1 [::1 [::1]:x
    127.0.0.1:123456 127.1 0.0.0.0 127.0.0.1.
    127.0.0.1#
"""


@pytest.mark.parametrize(("host", "status"), [*((h, 200) for h in HERE), *((h, 403) for h in ELSEWHERE.split())])
def test_without_a_key_only_this_machine_is_served_under_its_own_names(small, host, status):
    assert small.send("GET", "/v1/models", Host=host)[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:8000"}, 200),
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8000"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
    ],
)
def test_a_page_of_another_site_is_refused(small, headers, status):
    assert small.send("GET", "/v1/models", **{"Host": "localhost:8000"} | headers)[0] == status


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; a=b", ""])
def test_a_body_that_any_page_may_send_is_refused(small, kind):
    status, body = small.ask_as(kind)
    assert (status, "send `Content-Type: application/json`" in body["error"]["message"]) == (415, True)
    assert small.ask_as("Application/JSON; charset=utf-8")[0] == 200


def test_pages_of_allowed_sites_are_served_with_the_key(locked):
    asked = {"Origin": APP, "Sec-Fetch-Site": "cross-site"}
    assert locked.send("GET", "/v1/models", Authorization="Bearer a secret", **asked)[0] == 200
    assert locked.send("GET", "/v1/models", **asked)[0] == 401
    other = {"Origin": "https://evil.example", "Authorization": "Bearer a secret"}
    assert locked.send("GET", "/v1/models", **other)[0] == 403
    for origin, answered in ((APP, APP), ("https://evil.example", None)):
        before = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        assert locked.headers("OPTIONS", "/v1/chat/completions", before).get("access-control-allow-origin") == answered


def test_origins_need_a_key_and_are_scheme_and_host():
    with pytest.raises(InputError, match="only with a key; set LORAG_API_KEY first"):
        require_origins([APP], None)
    for wrong in ("*", "app.example", "https://app.example/", "https://*.example", "null"):
        with pytest.raises(InputError, match="is not a valid origin; expected, for example,"):
            require_origins([wrong], "a secret")
    require_origins([], None)


def test_an_address_that_others_reach_needs_a_key_and_a_port_in_use_is_said(small):
    for host in ("0.0.0.0", "::", "192.0.2.1", "shop.example"):
        with pytest.raises(InputError, match="set LORAG_API_KEY"):
            listen(host, 0, None)
    with pytest.raises(InputError, match="the key is blank"):
        listen("127.0.0.1", 0, " ")
    with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1 port {small.port}"):
        listen("127.0.0.1", small.port, None)
    listen("0.0.0.0", 0, "a secret").close()
