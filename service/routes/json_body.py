"""How request bodies are read: JSON in UTF-8 only, of bounded size, by orjson (which knows neither NaN nor Infinity)."""

from collections.abc import Callable, Coroutine
from email.message import Message
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

TOO_LARGE, UNSUPPORTED = 413, 415
JSON = "application/json"
JSON_TYPE = (b"content-type", JSON.encode())


class JsonAnswer(Response):
    """An answer in JSON that needs none of the headers' rules: their making cost as much as the answer's own."""

    def __init__(self, content: bytes, status_code: int = 200) -> None:
        self.status_code = status_code
        self.body = content
        self.background = None
        self.raw_headers = [(b"content-length", b"%d" % len(content)), JSON_TYPE]


class JsonRequest(Request):
    """A request whose body is checked while it arrives, so that an endless one is refused early."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._check_headers()
            self._body = await self._read(self.app.state.max_body_bytes)
        return self._body

    async def json(self) -> Any:
        return orjson.loads(await self.body())  # its error is a json.JSONDecodeError, which FastAPI expects

    def _check_headers(self) -> None:
        given = self.headers.get("content-type", "")
        if given != JSON:  # what nearly every client sends needs no parsing
            header = Message()
            header["content-type"] = given
            kind = header.get_content_type()
            if not given or not (kind == JSON or kind.endswith("+json")):
                raise HTTPException(UNSUPPORTED, f"send the body as {JSON}")
            charset = header.get_content_charset("utf-8")
            if charset not in ("utf-8", "utf8", "us-ascii"):
                raise HTTPException(UNSUPPORTED, f"send the body in UTF-8, not {charset}")
        if (encoding := self.headers.get("content-encoding", "identity")) != "identity":
            raise HTTPException(UNSUPPORTED, f"send the body uncompressed, not as {encoding}")

    async def _read(self, limit: int) -> bytes:
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise HTTPException(TOO_LARGE, f"the body is larger than {limit} bytes")
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.stream():
            size += len(chunk)
            if size > limit:
                raise HTTPException(TOO_LARGE, f"the body is larger than {limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)


class JsonRoute(APIRoute):
    """A route that reads its body as above."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(request if isinstance(request, JsonRequest) else JsonRequest(request.scope, request.receive))

        return handle_json
