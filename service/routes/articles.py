"""PUT and GET /articles, GET and DELETE /articles/{id}."""

from dataclasses import asdict
from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query, Response

from service.dependencies import CurrentNode, needs
from service.handlers import articles
from service.keys import Scope
from service.routes.json_body import JsonRoute
from service.routes.problems import responses
from service.schemas import PRINTABLE, ArticleAnswer, ArticlesBody, StoredAnswer, TitledAnswer

router = APIRouter(route_class=JsonRoute, tags=["articles"])
ArticleId = Annotated[str, Path(min_length=1, max_length=200, pattern=PRINTABLE)]


@router.put(
    "/articles",
    summary="Publish or edit articles",
    response_model=None,
    responses={200: {"model": StoredAnswer}, **responses(400, 401, 403, 413, 415, 422, 503)},
    dependencies=needs(Scope.ARTICLES),
)
async def put_articles(body: ArticlesBody, node: CurrentNode) -> Response:
    """Rankable from the next request on. Of two articles with one id, the last one counts."""
    stored = await articles.publish(node, [article.to_article() for article in body.articles], node.clock())
    return Response(orjson.dumps({"stored": stored}), media_type="application/json")


@router.get(
    "/articles",
    summary="Articles by a piece of their title",
    response_model=None,
    responses={200: {"model": TitledAnswer}, **responses(401, 403, 422, 503)},
    dependencies=needs(Scope.READ),
)
async def get_articles(
    node: CurrentNode,
    title: Annotated[str, Query(max_length=200, pattern=PRINTABLE)] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """The newest whose title contains it, in upper or lower case, or of all without it; withdrawn ones are left out."""
    found = await articles.titled(node, title, limit)
    return Response(orjson.dumps({"articles": [each._asdict() for each in found]}), media_type="application/json")


@router.get(
    "/articles/{article_id:path}",
    summary="One article",
    response_model=None,
    responses={200: {"model": ArticleAnswer}, **responses(401, 403, 404, 422, 503)},
    dependencies=needs(Scope.READ),
)
async def get_article(article_id: ArticleId, node: CurrentNode) -> Response:
    article = await articles.find(node, article_id)
    return Response(orjson.dumps(asdict(article)), media_type="application/json")


@router.delete(
    "/articles/{article_id:path}",
    summary="Withdraw an article",
    status_code=204,
    response_model=None,
    responses=responses(401, 403, 404, 422, 503),
    dependencies=needs(Scope.ARTICLES),
)
async def delete_article(article_id: ArticleId, node: CurrentNode) -> Response:
    """Gone from the very next list. What readers did with it stays in their history."""
    await articles.withdraw(node, article_id, node.clock())
    return Response(status_code=204)
