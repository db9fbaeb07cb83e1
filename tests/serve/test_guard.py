"""Who is let in, how much they may send, and what the browser is told."""

import asyncio

import pytest

from protolens.serve.guard import POLICY, Guard
from tests.serve.conftest import ASKS, Client


async def echo(scope, receive, send):
    """An application that sends the body back."""
    body = (await receive()).get("body", b"")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def guarded(token=None, hosts=("127.0.0.1", "localhost"), largest=None) -> Client:
    return Client(Guard(echo, hosts, token, largest or {}))


def test_what_comes_back_is_locked_down():
    answer = guarded().ask("GET", "/")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert "'unsafe" not in POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8808", ""])
def test_another_name_of_this_server_is_refused(host):
    answer = guarded().ask("GET", "/", {"host": host})
    assert answer.status_code == 421
    assert "protolens serve" in answer.json()["error"]


def test_any_name_goes_where_there_is_a_token():
    assert (
        guarded("secret", hosts=()).ask("GET", "/", {"host": "a.example", "cookie": "protolens=secret"}).status_code
        == 200
    )


@pytest.mark.parametrize(
    "headers", [{}, {"x-protolens": "2"}, {**ASKS, "origin": "http://evil.example"}, {**ASKS, "origin": "null"}]
)
def test_other_sites_cannot_change_anything(headers):
    assert guarded().ask("POST", "/", headers, content=b"x").status_code == 403
    assert guarded().ask("DELETE", "/", headers).status_code == 403


def test_the_page_itself_may_ask():
    answer = guarded().ask("POST", "/", {**ASKS, "origin": "http://127.0.0.1:8808"}, content=b"x")
    assert (answer.status_code, answer.content) == (200, b"x")


@pytest.mark.parametrize("path", ["/", "/?token=", "/?token=wrong", "/?token=secretx"])
def test_a_token_is_wanted(path):
    assert guarded("secret").ask("GET", path).status_code == 401


@pytest.mark.parametrize("cookie", ["protolens=wrong", "protolens=", "other=secret", "protolens=\x01; ;;=", "ü"])
def test_a_wrong_cookie_is_refused(cookie):
    assert guarded("secret").ask("GET", "/", {"cookie": cookie.encode()}).status_code == 401


def test_the_token_becomes_a_cookie_that_no_script_reads():
    answer = guarded("secret").ask("GET", "/?token=secret")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert guarded("secret").ask("GET", "/", {"cookie": cookie.split(";")[0]}).status_code == 200


def test_a_body_that_is_too_large_is_refused():
    assert guarded().ask("POST", "/", ASKS, content=b"x" * ((1 << 18) + 1)).status_code == 413
    assert (
        guarded(largest={"uploads": 1 << 20}).ask("POST", "/api/uploads", ASKS, content=b"x" * (1 << 19)).status_code
        == 200
    )
    answer = guarded(largest={"uploads": 1 << 20}).ask("POST", "/api/uploads", ASKS, content=b"x" * (2 << 20))
    assert (answer.status_code, answer.json()["error"]) == (
        413,
        "that is more than 1 MB, the most that is taken; make it smaller",
    )


def test_a_body_without_a_length_is_counted():
    async def parts():
        for _ in range(20):
            yield b"x" * (1 << 16)

    assert guarded().ask("POST", "/", ASKS, content=parts()).status_code == 413


def test_an_endless_body_is_dropped_for_a_while(monkeypatch):
    monkeypatch.setattr("protolens.serve.guard.DROPPED", 1 << 20)
    given = []

    async def parts():
        while True:
            given.append(1 << 16)
            yield b"x" * given[-1]

    assert guarded().ask("POST", "/", ASKS, content=parts()).status_code == 413
    assert 1 << 20 < sum(given) < 2 << 20


def test_a_body_that_does_not_end_is_given_up(monkeypatch):
    monkeypatch.setattr("protolens.serve.guard.PATIENCE", 0.05)
    sent = []

    async def receive():
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"localhost:1"), (b"x-protolens", b"1")],
    }
    asyncio.run(Guard(echo, ("localhost",), None, {})(scope, receive, send))
    assert sent[0]["status"] == 408
