"""GET /admin and its files, GET /admin/data, POST /admin/rollback, POST /admin/jobs/{update}."""

import mimetypes
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from service.dashboard.figures import Figures
from service.dashboard.rollback import LEARNER_SECONDS, roll_back
from service.dashboard.run_now import Update, run_now
from service.deadline import within
from service.dependencies import CurrentNode, needs
from service.errors import NotFound
from service.keys import Scope
from service.routes.json_body import JsonRoute
from service.routes.problems import responses

STATIC = Path(__file__).parents[1] / "dashboard" / "static"
FILES = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.is_file()}
LONGEST_HOURS = 24 * 7
SECONDS = 6.0  # for the figures
ROLLBACK_SECONDS = LEARNER_SECONDS + 3.0  # to wait for a learner that holds the line, and to write
HEADERS = {
    # Nothing but this service's own files runs or is loaded; no other page may frame this one and borrow a click.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked again with its ETag, so that an upgrade is seen at once
}
router = APIRouter(route_class=JsonRoute, tags=["dashboard"])


class RollbackBody(BaseModel):
    """Which version to serve again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    to: int = Field(ge=1, le=2**63 - 1, description="id of the version whose current network is to be served again")


class RunBody(BaseModel):
    """An empty object: no other site can make a visitor's browser send one."""

    model_config = ConfigDict(extra="forbid")


class RunAnswer(BaseModel):
    """The run that begins now is the one of this job behind that one."""

    job: Literal["minor_update", "major_retrain"]
    behind: int = Field(description="id of the job's newest run so far, 0 if there is none")


def figures(request: Request, node: CurrentNode) -> Figures:
    """The figures of this application; made anew when it was opened on another node."""
    kept: Figures | None = getattr(request.app.state, "figures", None)
    if kept is None or kept.node is not node:
        kept = request.app.state.figures = Figures(node)
    return kept


@router.get("/admin", include_in_schema=False)
async def get_page() -> Response:
    return FileResponse(STATIC / "index.html", headers=HEADERS)


@router.get("/admin/static/{name:path}", include_in_schema=False)
async def get_file(name: str) -> Response:
    """One of the page's files; only names that exist in this release are looked up, never paths."""
    path = FILES.get(name)
    if path is None:
        raise NotFound(f"the dashboard has no file {name!r}")
    kind = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(path.name)[0] or "text/plain"
    return FileResponse(path, media_type=kind, headers=HEADERS)


@router.get(
    "/admin/data",
    summary="The dashboard's figures",
    response_model=None,
    responses=responses(401, 403, 422, 503),
    dependencies=needs(Scope.ADMIN),
)
async def get_data(
    document: Annotated[Figures, Depends(figures)], hours: Annotated[int, Query(ge=1, le=LONGEST_HOURS)] = 24
) -> Response:
    """What the page draws; its shape belongs to the page and may change with it."""
    return json(await within(SECONDS, document.document(hours)))


@router.post(
    "/admin/rollback",
    summary="Serve an older version again",
    response_model=None,
    responses=responses(400, 401, 403, 413, 415, 422, 503),
    dependencies=needs(Scope.ADMIN),
)
async def post_rollback(body: RollbackBody, node: CurrentNode) -> Response:
    """Appends a version that holds the old weights; every process serves it within a second."""
    return json({"version": await within(ROLLBACK_SECONDS, roll_back(node, body.to))})


@router.post(
    "/admin/jobs/{update}",
    summary="Have a learner make a minor or a major update now",
    status_code=202,
    response_model=None,
    responses={202: {"model": RunAnswer}, **responses(400, 401, 403, 413, 415, 422, 503)},
    dependencies=needs(Scope.ADMIN),
)
async def post_job(update: Update, body: RunBody, node: CurrentNode) -> Response:  # noqa: ARG001  # asked for by its type
    """A learner begins at once; its row among the job runs says what comes of it. 422 if no learner listens, or one is at it."""
    return json(asdict(await within(node.settings.store_timeout, run_now(node, update))), 202)


def json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json", headers={"Cache-Control": "no-store"})
