"""POST /rank."""

import os

import orjson
from fastapi import APIRouter, Response

from drn.types import Impression
from service.dependencies import CurrentNode, needs
from service.handlers.rank import rank
from service.keys import Scope
from service.routes.direct import Shortcut
from service.routes.json_body import JsonAnswer, JsonRoute
from service.routes.problems import responses
from service.schemas import RankAnswer, RankBody

router = APIRouter(route_class=JsonRoute, tags=["ranking"])


@router.post(
    "/rank",
    summary="Rank articles for a reader",
    response_model=None,
    responses={200: {"model": RankAnswer}, **responses(400, 401, 403, 413, 415, 422, 503)},
    dependencies=needs(Scope.RANK),
)
async def post_rank(body: RankBody, node: CurrentNode) -> Response:
    """The list is logged before it is answered; a request with the same `request_id` gets the same list again."""
    request = body.to_request(body.request_id or os.urandom(16).hex(), node.clock())
    return JsonAnswer(answer(await rank(node, request)))


SHORTCUT = Shortcut("/rank", Scope.RANK, RankBody, post_rank)


def answer(impression: Impression) -> bytes:
    """The list as JSON."""
    merged = impression.interleaving
    scores = impression.current_scores[merged.shown].tolist()
    places = zip(impression.article_ids, scores, merged.pinned.tolist(), strict=True)
    return orjson.dumps(
        {
            "request_id": impression.request_id,
            "model_version": impression.version_id,
            "items": [
                {"article_id": article_id, "position": position, "score": score, "reason": "pinned" if pinned else "ranked"}
                for position, (article_id, score, pinned) in enumerate(places)
            ],
            "unknown": impression.unknown,
            "fallback": impression.fallback,
        }
    )
