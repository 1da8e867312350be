"""GET /decisions/{request_id}."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Response

from service.dependencies import CurrentNode, needs
from service.handlers.decisions import afterwards, decide_again, described
from service.keys import Scope
from service.routes.problems import responses
from service.schemas import PRINTABLE, DecisionAnswer

router = APIRouter(tags=["decisions"])


@router.get(
    "/decisions/{request_id:path}",
    summary="What was served, why, and whether it can be derived again",
    response_model=None,
    responses={200: {"model": DecisionAnswer}, **responses(401, 403, 404, 422, 503)},
    dependencies=needs(Scope.READ),
)
async def get_decision(
    request_id: Annotated[str, Path(min_length=1, max_length=200, pattern=PRINTABLE)], node: CurrentNode
) -> Response:
    """From the logged row alone: features as used, version and seed. Titles and clicks stand beside it, as of now."""
    decision = await decide_again(node, request_id)
    by_now = await afterwards(node, decision.impression)
    return Response(orjson.dumps(described(decision, by_now)), media_type="application/json")
