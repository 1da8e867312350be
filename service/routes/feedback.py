"""POST /feedback."""

import orjson
from fastapi import APIRouter, Response

from service.dependencies import CurrentNode, needs
from service.handlers.feedback import record
from service.keys import Scope
from service.routes.direct import Shortcut
from service.routes.json_body import JsonRoute
from service.routes.problems import responses
from service.schemas import FeedbackAnswer, FeedbackBody

router = APIRouter(route_class=JsonRoute, tags=["ranking"])


@router.post(
    "/feedback",
    summary="Report what readers did",
    status_code=202,
    response_model=None,
    responses={202: {"model": FeedbackAnswer}, **responses(400, 401, 403, 404, 413, 415, 422, 503)},
    dependencies=needs(Scope.FEEDBACK),
)
async def post_feedback(body: FeedbackBody, node: CurrentNode) -> Response:
    """All events of a request are stored, or none; a 202 means that they are committed. `event_id` makes retries safe."""
    now = node.clock()
    recorded = await record(node, [event.to_event(now) for event in body.events], now)
    content = orjson.dumps({"accepted": recorded.accepted, "duplicates": recorded.duplicates})
    return Response(content, 202, media_type="application/json")


SHORTCUT = Shortcut("/feedback", Scope.FEEDBACK, FeedbackBody, post_feedback)
