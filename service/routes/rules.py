"""GET and POST /rules, DELETE /rules/{id}."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query, Response

from service.dependencies import CurrentNode, needs
from service.handlers import rules
from service.keys import Scope
from service.routes.json_body import JsonRoute
from service.routes.problems import responses
from service.schemas import RuleAnswer, RuleBody, RulesAnswer

router = APIRouter(route_class=JsonRoute, tags=["rules"])


@router.get(
    "/rules",
    summary="Editors' rules for the whole site",
    response_model=None,
    responses={200: {"model": RulesAnswer}, **responses(401, 403, 422, 503)},
    dependencies=needs(Scope.ADMIN),
)
async def get_rules(node: CurrentNode, ended: bool = False, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Response:
    """The running ones, all of them; with `ended`, the newest `limit` of all that ever were."""
    found = await rules.listing(node, node.clock(), ended, limit)
    return Response(orjson.dumps({"rules": found}), media_type="application/json")


@router.post(
    "/rules",
    summary="Pin an article, cap how often a reader is shown it, or boost its scores",
    status_code=201,
    response_model=None,
    responses={201: {"model": RuleAnswer}, **responses(400, 401, 403, 413, 415, 422, 503)},
    dependencies=needs(Scope.ADMIN),
)
async def post_rule(body: RuleBody, node: CurrentNode) -> Response:
    """It holds within a second, everywhere. What a request asks for itself, by `pinned` or `exclude`, wins."""
    added = await rules.add(node, body.to_rule(), node.clock())
    return Response(orjson.dumps(added), 201, media_type="application/json")


@router.delete(
    "/rules/{rule_id}",
    summary="End a rule",
    status_code=204,
    response_model=None,
    responses=responses(401, 403, 404, 422, 503),
    dependencies=needs(Scope.ADMIN),
)
async def delete_rule(rule_id: Annotated[int, Path(ge=1, le=2**63 - 1)], node: CurrentNode) -> Response:
    """Within a second no list goes by it any more. It stays on record."""
    await rules.end(node, rule_id, node.clock())
    return Response(status_code=204)
