"""The OpenAPI document against a running service: generated requests, valid and broken, and what comes back."""

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

# Left out is "valid data is accepted": a request may be well-formed and still name an article that does not exist.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES = 12  # per operation and mode: a few seconds in all


@pytest.fixture
def service(initial: Any, spawn: Any) -> Any:
    service = spawn()
    service.wait_until_ready()
    articles = [{"id": f"a{i}", "title": f"Title {i}", "published_at": "2026-11-22T10:00:00Z"} for i in range(5)]
    assert httpx.put(f"{service.url}/articles", json={"articles": articles}).status_code == 200
    assert httpx.post(f"{service.url}/rank", json={"request_id": "r1", "user_id": "u1"}).status_code == 200
    return service


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_operation_keeps_to_its_description(service: Any, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
            continue  # nothing in it can be wrong

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def conforms(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        conforms()
        tried += 1
    assert tried >= 8
    assert httpx.get(f"{service.url}/readyz").status_code == 200
