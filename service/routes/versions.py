"""GET /versions."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response

from service.dependencies import CurrentNode, needs
from service.handlers import versions
from service.keys import Scope
from service.routes.problems import responses
from service.schemas import VersionsAnswer

router = APIRouter(tags=["versions"])


@router.get(
    "/versions",
    summary="The line of descent, newest first",
    response_model=None,
    responses={200: {"model": VersionsAnswer}, **responses(401, 403, 422, 503)},
    dependencies=needs(Scope.READ),
)
async def get_versions(node: CurrentNode, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Response:
    return Response(orjson.dumps({"versions": await versions.line(node, limit)}), media_type="application/json")
