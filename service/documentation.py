"""What FastAPI cannot know about the OpenAPI document: who needs which key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ADMIN = "/v1/admin"
SCHEMES = {
    "ApiKey": "An API key: `Authorization: Bearer <key>`.",
    "AdminKey": "The operator's key, for the paths below `/v1/admin` only.",
}


def secured(document: Mapping[str, Any], *, keys: bool) -> dict[str, Any]:
    """The document with the keys that its operations need.

    Args:
        document: every operation that may need a key has an answer 401.
        keys: API keys are set; else everybody may call what is not the operator's.
    """
    paths: dict[str, Any] = {}
    used: set[str] = set()
    for path, operations in document["paths"].items():
        name = "AdminKey" if path.startswith(ADMIN) else "ApiKey"
        paths[path] = {}
        for method, operation in operations.items():
            needs = "401" in operation["responses"] and (keys or name == "AdminKey")
            paths[path][method] = {**operation, "security": [{name: []}]} if needs else operation
            used |= {name} if needs else set()
    schemes = {
        name: {"type": "http", "scheme": "bearer", "description": about}
        for name, about in SCHEMES.items()
        if name in used
    }
    components = document.get("components", {})
    if schemes:
        components = {**components, "securitySchemes": schemes}
    return {**document, "paths": paths, "components": components}
