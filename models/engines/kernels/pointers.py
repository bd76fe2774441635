"""Arrays as bare pointers: one machine word instead of seven, and no reference counts.

Kernels take NamedTuples of arrays, whose types are checked, and make them bare at once. Whoever
called holds the arrays meanwhile.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


@intrinsic
def bare(_typing: Any, kind: Any) -> Any:
    """The same NamedTuple with a pointer for every array; arrays of records stay what they are."""

    def convert(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _bare_value(context, builder, kind, arguments[0])

    return _bare_kind(kind)(kind), convert


@intrinsic
def shorts_at(_typing: Any, address: Any) -> Any:
    """A pointer to membranes or currents."""
    return types.CPointer(types.int16)(address), _pointer


@intrinsic
def longs_at(_typing: Any, address: Any) -> Any:
    """A pointer to a number of active pairs."""
    return types.CPointer(types.int64)(address), _pointer


@intrinsic
def flags_at(_typing: Any, address: Any) -> Any:
    """A pointer to fired flags."""
    return types.CPointer(types.uint64)(address), _pointer


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))


def _is_plain(kind: Any) -> bool:
    return isinstance(kind, types.Array) and not isinstance(kind.dtype, types.Record)


def _bare_kind(kind: Any) -> Any:
    if isinstance(kind, types.BaseTuple):
        return types.BaseTuple.from_types([_bare_kind(k) for k in kind], kind.instance_class)
    return types.CPointer(kind.dtype) if _is_plain(kind) else kind


def _bare_value(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.BaseTuple):
        parts = [
            _bare_value(context, builder, part, builder.extract_value(value, k))
            for k, part in enumerate(kind)
        ]
        return context.make_tuple(builder, _bare_kind(kind), parts)
    if _is_plain(kind):
        return context.make_array(kind)(context, builder, value).data
    if context.enable_nrt:
        context.nrt.incref(builder, kind, value)
    return value
