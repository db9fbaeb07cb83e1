"""What every request has to pass: whose it is, how large it is, and what the browser may do with the answer."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
COOKIE = "protolens"
WORDS = 1 << 18  # bytes of a request that is no image
DROPPED = 1 << 30  # bytes of a request that are read at most, to no use
PATIENCE = 30.0  # seconds in which the body of a request has to come
SAFE = ("GET", "HEAD")


class Guard:
    """An ASGI layer around the application.

    hosts: names that a request may call this server by, so that no other site can be pointed at it, none = any; token:
    what a client has to know, None where only this machine can ask; largest: bytes of a body by the last word of its
    path, else WORDS.
    """

    def __init__(self, app: App, hosts: tuple[str, ...], token: str | None, largest: dict[str, int]):
        self.app, self.hosts, self.token, self.largest = app, hosts, token, largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application do so."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self.refusal(scope, headers)
        if refusal:
            await answer(send, *refusal)
            return
        if self.token and self.token_in_query(scope):
            cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
            await answer(send, 303, "", {"location": "/", "set-cookie": cookie})
            return
        body = b""
        if scope["method"] not in SAFE:
            try:
                body = await asyncio.wait_for(self.body(scope, headers, receive), PATIENCE)
            except TimeoutError:
                await answer(send, 408, "the request did not come to its end in time")
                return
            except TooLargeError as error:
                await answer(send, 413, str(error), {"connection": "close"})
                return
        await self.app(scope, replay(body, receive), with_headers(send))

    def refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Why a request is not answered, if it is not."""
        host = headers.get("host", "")
        if self.hosts and host.rsplit(":", 1)[0] not in self.hosts:
            return 421, "this server is not called so; open the address that `protolens serve` has printed"
        origin = headers.get("origin")
        if scope["method"] not in SAFE and (
            headers.get("x-protolens") != "1" or (origin and urlsplit(origin).netloc != host)
        ):
            return 403, "only the page of this server may ask for that"
        if self.token and not self.token_in_query(scope) and not self.token_in_cookie(headers):
            return 401, "this server wants a token; open the address that `protolens serve` has printed"
        return None

    def token_in_query(self, scope: Scope) -> bool:
        """Whether the address holds the token, as the first one does."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return secrets.compare_digest(given.encode(), (self.token or "").encode()) and bool(given)

    def token_in_cookie(self, headers: dict[str, str]) -> bool:
        """Whether the browser was let in before."""
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and secrets.compare_digest(cookie.value.encode(), (self.token or "").encode())

    async def body(self, scope: Scope, headers: dict[str, str], receive: Receive) -> bytes:
        """All bytes of a request, at most as many as are allowed. Raises TooLargeError.

        What is too much is read and dropped: a client that is still sending when the line is closed may never see why.
        """
        most = self.largest.get(scope["path"].rsplit("/", 1)[-1], WORDS)
        told = headers.get("content-length", "0")
        if told.isdigit() and int(told) > DROPPED:
            raise TooLargeError(most)
        parts, size, more = [], 0, True
        while more and size <= DROPPED:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b""
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size <= most:
                parts.append(part)
            else:
                parts.clear()
        if size > most:
            raise TooLargeError(most)
        return b"".join(parts)


class TooLargeError(Exception):
    """More bytes than are taken."""

    def __init__(self, most: int):
        size = f"{most >> 20} MB" if most >> 20 else f"{most >> 10} kB"
        super().__init__(f"that is more than {size}, the most that is taken; make it smaller")


def replay(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, for the application."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def with_headers(send: Send) -> Send:
    """Answers that tell the browser what it may do with them."""

    async def safely(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            own = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in there]
            if b"cache-control" not in there:
                own.append((b"cache-control", b"no-store"))
            message = {**message, "headers": [*message["headers"], *own]}
        await send(message)

    return safely


async def answer(send: Send, status: int, sentence: str, extra: dict[str, str] | None = None) -> None:
    """A short answer of the guard itself."""
    import json

    body = json.dumps({"error": sentence}).encode() if sentence else b""
    headers = {"content-type": "application/json", "content-length": str(len(body)), **(extra or {})}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    send = with_headers(send)
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
