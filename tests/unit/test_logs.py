import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from service import logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


def test_every_logger_writes_one_json_object_a_line() -> None:
    stream = io.StringIO()
    logs.configure("INFO", stream)
    structlog.get_logger("service.test").info("served", version=3)
    logging.getLogger("uvicorn.error").warning("a library %s", "speaks")
    logging.getLogger("uvicorn.access").info("every request")
    structlog.get_logger("service.test").debug("too detailed")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["level"], line["logger"]) for line in lines] == [
        ("served", "info", "service.test"),
        ("a library speaks", "warning", "uvicorn.error"),
    ]
    assert lines[0]["version"] == 3
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_an_error_keeps_its_traceback_on_the_same_line() -> None:
    stream = io.StringIO()
    logs.configure("INFO", stream)
    try:
        raise LookupError("lost")
    except LookupError as error:
        structlog.get_logger("service.test").error("failed", exc_info=error)
    (line,) = stream.getvalue().splitlines()
    assert "LookupError: lost" in json.loads(line)["exception"]
