"""Requests made up from the OpenAPI document, good and bad: every answer is one it promises."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
import schemathesis

# Imported now, not when first needed: Python 3.11's parser, which pytest runs on it, fails if
# garbage with a finaliser, such as other tests' connections, is collected meanwhile.
import schemathesis.specs.openapi.adapter.parameters
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from tests.load.servers import Service

load_all_checks()
# A schema cannot say that min_timesteps <= max_timesteps, nor that a deadline of a microsecond
# is a 504; both are documented, which is what is checked here.
BEYOND_SCHEMA = ["positive_data_acceptance", "not_a_server_error"]
# An item that is refused is refused inside the batch's answer.
BEYOND_STATUS = {"/classify/batch": ["negative_data_rejection"]}


@pytest.mark.parametrize("examples", [4, pytest.param(300, marks=pytest.mark.verify)])
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_as_documented(
    tiny_service: Service, mode: GenerationMode, examples: int
) -> None:
    url = str(tiny_service.client.base_url)
    statuses: Counter[str] = Counter()
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        statuses += explored(found.ok(), mode, examples)
    print(f"\n{mode.value} requests by the OpenAPI document: {dict(sorted(statuses.items()))}")
    assert tiny_service.client.get("/livez").status_code == 200


def explored(
    operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, examples: int
) -> Counter[str]:
    statuses: Counter[str] = Counter()
    beyond = [*BEYOND_SCHEMA, *BEYOND_STATUS.get(operation.path, [])]
    excluded: Any = CHECKS.get_by_names(beyond)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def explore(case: Case[Any]) -> None:
        response = case.call_and_validate(excluded_checks=excluded)
        assert response.status_code != 500, response.text
        statuses[str(response.status_code)] += 1

    if mode is GenerationMode.NEGATIVE:
        with suppress(Unsatisfiable):  # nothing can be wrong where nothing is given
            explore()
    else:
        explore()
    return statuses
