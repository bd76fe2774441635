"""How a kind of layer is declared."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass

from spikeserve.models.errors import InvalidNetwork

L = TypeVar("L")


@dataclass_transform(frozen_default=True)
def layer_kind(cls: type[L]) -> type[L]:
    """A frozen dataclass whose fields keep their bounds, by hand as in a manifest.

    Making one raises :class:`InvalidNetwork`, which names the layer and the field.
    """
    kind: Any = dataclass(frozen=True, config=ConfigDict(extra="forbid"))(cls)
    checked, names = kind.__init__, [field.name for field in fields(kind)]

    def made(self: L, *arguments: Any, **named: Any) -> None:
        try:
            checked(self, *arguments, **named)
        except ValidationError as error:
            first = error.errors()[0]
            place = first["loc"][0]
            field = names[place] if isinstance(place, int) else place
            name = named.get("name", *arguments[:1])
            raise InvalidNetwork(f"layer {name!r}: {field}: {first['msg']}") from error

    kind.__init__ = made
    whole: type[L] = kind
    return whole
