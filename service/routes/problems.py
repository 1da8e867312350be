"""Every error as RFC 9457 `application/problem+json`. The only place where an error meets an HTTP status."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service.errors import (
    FieldError,
    Forbidden,
    NotFound,
    ServiceError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unprocessable,
)
from service.schemas import Problem

MEDIA_TYPE = "application/problem+json"
STATUS: dict[type[ServiceError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    Unprocessable: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
HEADERS = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="drn"'},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "1"},
}
SHOWN_ERRORS = 100  # of a body with thousands of wrong fields, so that the answer stays small
SHOWN_INPUT = 200
log = structlog.get_logger(__name__)


def problem(status: int, detail: str, errors: Iterable[FieldError] = (), headers: dict[str, str] | None = None) -> Response:
    """One problem as a response."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "errors": [{"field": error.field, "message": error.message} for error in errors],
    }
    extra = HEADERS.get(HTTPStatus(status), {}) | (headers or {})
    return Response(orjson.dumps(body), status, headers=extra, media_type=MEDIA_TYPE)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the problems that a route may answer with."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}} for status in statuses}


def field_errors(errors: Sequence[Any]) -> list[FieldError]:
    """Pydantic's errors by dotted field name, without the request's own values (they may be large, or private)."""
    found = []
    for error in errors[:SHOWN_ERRORS]:
        place = [str(part) for part in error["loc"] if part not in ("body", "path", "query")]
        found.append(FieldError(".".join(place) or "body", str(error["msg"]).removeprefix("Value error, ")[:SHOWN_INPUT]))
    return found


async def invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    if any(each["type"] == "json_invalid" for each in errors):
        reason = errors[0].get("ctx", {}).get("error", "")
        return problem(HTTPStatus.BAD_REQUEST, f"the body is not JSON in UTF-8: {reason}", [FieldError("body", str(reason))])
    found = field_errors(errors)
    more = f" (the first {SHOWN_ERRORS} of {len(errors)} are listed)" if len(errors) > SHOWN_ERRORS else ""
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{found[0].field}: {found[0].message}{more}", found)


async def refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return of_service(error)


def of_service(error: ServiceError) -> Response:
    return problem(STATUS[type(error)], error.detail, error.errors)


async def http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))


async def unexpected(request: Request, error: Exception) -> Response:
    return of_bug(request.url.path, error)


def of_bug(path: str, error: Exception) -> Response:
    """What nobody foresaw, told to the operator."""
    log.error("request failed", path=path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an error of this service; it has been logged")


def install(app: FastAPI) -> None:
    """Makes every error of the application a problem."""
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ServiceError, refused)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)


def describe(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI with the problem's schema, and with 422 as a problem wherever FastAPI wrote its own format."""
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    own = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components |= own.pop("$defs", {})
    components["Problem"] = own
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    for path in schema.get("paths", {}).values():
        for operation in path.values():
            if isinstance(operation, dict) and "422" in operation.get("responses", {}):
                operation["responses"] |= {str(key): value for key, value in responses(422).items()}
    return schema
