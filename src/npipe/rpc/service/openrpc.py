"""OpenRPC document of an API, from its type hints: the result of ``rpc.discover``.

Sans-I/O. OpenRPC 1.3; msgspec generates the JSON schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from npipe.rpc.service.binding import Parameter, Signature

__all__ = ["document"]


class Described(Protocol):
    """The attributes of ``api.Method`` that the document uses."""

    @property
    def signature(self) -> Signature: ...
    @property
    def documentation(self) -> str: ...


def document(table: Mapping[str, Described]) -> dict[str, Any]:
    """Make the OpenRPC document of the methods in ``table``, by name."""
    methods = sorted(table.items())
    types = [t for _, m in methods for t in _types(m)]
    schemas, components = _schemas(types)
    remaining = iter(schemas)
    described = [_describe(name, m, [next(remaining) for _ in _types(m)]) for name, m in methods]
    return {
        "openrpc": "1.3.2",
        "info": {"title": "npipe", "version": "1.0"},
        "methods": described,
        "components": {"schemas": components},
    }


def _types(method: Described) -> list[Any]:
    return [p.type for p in method.signature.parameters] + [method.signature.returns]


def _schemas(types: list[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    template = "#/components/schemas/{name}"
    try:
        found, components = msgspec.json.schema_components(types, ref_template=template)
        return list(found), components
    except (TypeError, ValueError):  # one type has no schema: generate the others one by one
        return [_schema(kind) for kind in types], {}


def _schema(kind: Any) -> dict[str, Any]:
    try:
        return msgspec.json.schema(kind)
    except (TypeError, ValueError):
        return {}


def _describe(name: str, method: Described, schemas: list[dict[str, Any]]) -> dict[str, Any]:
    *params, result = schemas
    described = {
        "name": name,
        "params": [_param(p, s) for p, s in zip(method.signature.parameters, params, strict=True)],
        "result": {"name": "result", "schema": result},
        "paramStructure": _structure(method.signature.parameters),
    }
    if method.documentation:
        described["summary"], _, rest = method.documentation.partition("\n")
        if rest.strip():
            described["description"] = rest.strip()
    return described


def _structure(parameters: tuple[Parameter, ...]) -> str:
    if any(p.keyword_only and p.required for p in parameters):
        return "by-name"
    return "by-position" if any(p.rest for p in parameters) else "either"


def _param(parameter: Parameter, schema: dict[str, Any]) -> dict[str, Any]:
    if parameter.rest:
        schema = {"type": "array", "items": schema}
    return {"name": parameter.name, "required": parameter.required, "schema": schema}
