"""DELETE /users/{id}."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Response

from service.dependencies import CurrentNode, needs
from service.handlers import users
from service.keys import Scope
from service.routes.problems import responses
from service.schemas import PRINTABLE, Erased

router = APIRouter(tags=["readers"])


@router.delete(
    "/users/{user_id:path}",
    summary="Erase a reader everywhere",
    response_model=None,
    responses={200: {"model": Erased}, **responses(401, 403, 404, 422, 503)},
    dependencies=needs(Scope.ADMIN),
)
async def delete_user(
    user_id: Annotated[str, Path(min_length=1, max_length=200, pattern=PRINTABLE)], node: CurrentNode
) -> Response:
    """History, impressions, feedback and replay. A session is erased as `session:<session_id>`."""
    receipt = await users.erase(node, user_id, node.clock())
    return Response(orjson.dumps(receipt, default=bytes.hex), media_type="application/json")
