"""The short way through FastAPI for the busiest routes."""

from collections.abc import Callable, Coroutine
from typing import Any, get_type_hints

import orjson
from fastapi import Request, Response
from pydantic import BaseModel

from service.dependencies import current_node
from service.routes.json_body import JsonRequest, JsonRoute


class DirectRoute(JsonRoute):
    """A route `(body, node) -> Response` whose good requests skip FastAPI's general resolution of parameters.

    That resolution costs more than both networks' scores. Whatever is wrong with a body is found out again, and said, by
    FastAPI itself, so errors and OpenAPI are those of every other route.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        ordinary = super().get_route_handler()
        body_type: type[BaseModel] = get_type_hints(self.endpoint)["body"]
        checks = [dependency.dependency for dependency in self.dependencies if dependency.dependency is not None]

        async def handle_directly(request: Request) -> Response:
            request = JsonRequest(request.scope, request.receive)
            try:
                content = orjson.loads(await request.body())
                for check in checks:
                    await check(request)
                body = body_type.model_validate(content)
            except ValueError:  # neither JSON nor such a body
                return await ordinary(request)
            response: Response = await self.endpoint(body, await current_node(request))
            return response

        return handle_directly
