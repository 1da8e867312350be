"""The short way past the framework for the busiest routes."""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import keys
from service.errors import ServiceError
from service.node import Node
from service.routes import problems
from service.routes.json_body import JSON

Answered = Callable[[Scope, str, int, float], None]
"""What is told of an answer: the request, its route's path, the status, and `time.perf_counter()` when it arrived."""

JSON_BYTES = JSON.encode()


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A POST route that can be answered without the framework: what it needs, and its endpoint."""

    path: str
    needs: keys.Scope
    body: type[BaseModel]
    endpoint: Callable[[Any, Node], Awaitable[Response]]


class Shortcuts:
    """An ASGI application before another one: good requests for the shortcuts are answered here, all others there.

    Middlewares, routing and FastAPI's resolution of parameters cost more than the decision itself. Whatever is wrong with
    a request's form (its headers, JSON or fields) is found out again, and said, by the application behind, so errors and
    OpenAPI are those of every other route.
    """

    def __init__(self, app: ASGIApp, shortcuts: Iterable[Shortcut], max_body_bytes: int, answered: Answered) -> None:
        self._app = app
        self._shortcuts = {shortcut.path: shortcut for shortcut in shortcuts}
        self._max_body_bytes = max_body_bytes
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        shortcut = self._shortcuts.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if shortcut is None:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        messages = await received(receive, self._max_body_bytes)
        response = await answer(shortcut, scope, messages, self._max_body_bytes)
        if response is None:
            await self._app(scope, again(messages, receive), send)
            return
        try:
            await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
            await send({"type": "http.response.body", "body": response.body})
        finally:
            self._answered(scope, shortcut.path, response.status_code, started)


async def received(receive: Receive, limit: int) -> list[Message]:
    """The messages of one request's body, or the first of them up to more than `limit` bytes."""
    messages = [await receive()]
    size = 0
    while messages[-1].get("more_body"):
        size += len(messages[-1]["body"])
        if size > limit:
            break
        messages.append(await receive())
    return messages


def again(messages: Sequence[Message], receive: Receive) -> Receive:
    """Receives what was received before, and then what follows."""
    before = iter(messages)

    async def receive_again() -> Message:
        message = next(before, None)
        return await receive() if message is None else message

    return receive_again


async def answer(shortcut: Shortcut, scope: Scope, messages: Sequence[Message], limit: int) -> Response | None:
    """The endpoint's answer or the problem that it met; None if the request is not in the form that nearly all have."""
    authorization, plain = read_headers(scope["headers"])
    if not plain or messages[-1]["type"] != "http.request" or messages[-1].get("more_body"):
        return None
    content = messages[0]["body"] if len(messages) == 1 else b"".join([message["body"] for message in messages])
    if len(content) > limit:
        return None
    try:
        body = shortcut.body.model_validate(orjson.loads(content))
    except ValueError:  # neither JSON nor such a body
        return None
    node: Node = scope["app"].state.node
    try:
        node.live.keys.check(authorization, shortcut.needs)
        return await shortcut.endpoint(body, node)
    except ServiceError as error:
        return problems.of_service(error)
    except Exception as error:
        return problems.of_bug(scope["path"], error)


def read_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str | None, bool]:
    """The `Authorization` header, and whether the body is JSON that is sent as it is."""
    authorization, plain = None, False
    for name, value in headers:
        if name == b"content-type":
            plain = value == JSON_BYTES
        elif name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"content-encoding":
            return authorization, False
    return authorization, plain
