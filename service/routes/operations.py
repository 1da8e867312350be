"""GET /livez, /readyz, /metrics, /docs."""

from pathlib import Path

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client.exposition import CONTENT_TYPE_LATEST

import service
from service.dependencies import CurrentNode, needs
from service.keys import Scope
from service.routes.problems import responses
from service.schemas import Health

router = APIRouter(tags=["operations"])
SWAGGER = Path(service.__file__).parent / "swagger"


@router.get("/livez", summary="Is the process running?", response_model=Health)
async def get_livez() -> Response:
    return health("")


@router.get(
    "/readyz", summary="Can it answer /rank?", response_model=None, responses={200: {"model": Health}, 503: {"model": Health}}
)
async def get_readyz(node: CurrentNode) -> Response:
    """Green while the store answers, this process keeps in step with it, and a version is served."""
    return health(await node.trouble())


def health(trouble: str) -> Response:
    body = {"status": "unavailable" if trouble else "ok", "detail": trouble}
    return Response(orjson.dumps(body), 503 if trouble else 200, media_type="application/json")


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_model=None,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **responses(401, 403)},
    dependencies=needs(Scope.READ),
)
async def get_metrics(node: CurrentNode) -> Response:
    return Response(node.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def install_docs(app: FastAPI) -> None:
    """Swagger UI from this package's own files: it works offline, and a page with keys in it loads nothing from elsewhere."""
    app.mount("/docs/assets", StaticFiles(directory=SWAGGER), name="docs-assets")

    @app.get("/docs", include_in_schema=False)
    async def get_docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title="drn",
            swagger_js_url=f"{root}/docs/assets/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/assets/swagger-ui.css",
            swagger_favicon_url="data:,",
        )
