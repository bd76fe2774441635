"""A little language for machine code: LLVM values that add up like numbers.

numba compiles scalar loops; what needs vectors is written here as a function over ``Term``
(a scalar or vector value) and ``Column`` (an array in memory) and becomes a function that
numba can call::

    @instruction(types.void)
    def twice(code, source, target, at):
        row = source.load(at, code.vector(SHORT, 64))
        target.store(at, row + row)

Indices are not checked, as everywhere in compiled kernels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

SHORT, INT, LONG = ir.IntType(16), ir.IntType(32), ir.IntType(64)


class Term:
    """A scalar or vector of integers; plain numbers beside it become constants of its type."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    @property
    def type(self) -> Any:
        return self.value.type

    def _of(self, other: Term | int) -> Any:
        if isinstance(other, Term):
            return other.value
        lanes = getattr(self.type, "count", None)
        return ir.Constant(self.type, other if lanes is None else [other] * lanes)

    def _made(self, value: Any) -> Term:
        return Term(self.builder, value)

    def __add__(self, other: Term | int) -> Term:
        return self._made(self.builder.add(self.value, self._of(other)))

    def __sub__(self, other: Term | int) -> Term:
        return self._made(self.builder.sub(self.value, self._of(other)))

    def __mul__(self, other: Term | int) -> Term:
        return self._made(self.builder.mul(self.value, self._of(other)))

    def __and__(self, other: Term | int) -> Term:
        return self._made(self.builder.and_(self.value, self._of(other)))

    def __invert__(self) -> Term:
        return self._made(self.builder.not_(self.value))

    def __lshift__(self, other: Term | int) -> Term:
        return self._made(self.builder.shl(self.value, self._of(other)))

    def __rshift__(self, other: Term | int) -> Term:
        """Arithmetic: rounds towards minus infinity."""
        return self._made(self.builder.ashr(self.value, self._of(other)))

    def __ge__(self, other: Term | int) -> Term:
        """Signed; one bit a lane."""
        return self._made(self.builder.icmp_signed(">=", self.value, self._of(other)))

    def widened(self, kind: Any) -> Term:
        return self._made(self.builder.sext(self.value, kind))

    def narrowed(self, kind: Any) -> Term:
        return self._made(self.builder.trunc(self.value, kind))

    def reinterpreted(self, kind: Any) -> Term:
        return self._made(self.builder.bitcast(self.value, kind))

    def spread(self, lanes: int) -> Term:
        """This scalar in every lane of a vector."""
        vector = ir.VectorType(self.type, lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        first = self.builder.insert_element(undefined, self.value, INT(0))
        zeros = ir.Constant(ir.VectorType(INT, lanes), [0] * lanes)
        return self._made(self.builder.shuffle_vector(first, undefined, zeros))

    def lanes(self, indices: range) -> Term:
        """A vector of the chosen lanes."""
        chosen = ir.Constant(ir.VectorType(INT, len(indices)), list(indices))
        undefined = ir.Constant(self.type, ir.Undefined)
        return self._made(self.builder.shuffle_vector(self.value, undefined, chosen))

    def where(self, bits: Term, other: Term) -> Term:
        """This where a bit is set, ``other`` where not."""
        return self._made(self.builder.select(bits.value, self.value, other.value))


class Column:
    """A one-dimensional contiguous array, or where one begins."""

    def __init__(self, builder: Any, pointer: Any) -> None:
        self.builder = builder
        self.pointer = pointer

    def _at(self, index: Term, kind: Any) -> Any:
        place = self.builder.gep(self.pointer, [index.value])
        return self.builder.bitcast(place, kind.as_pointer())

    def load(self, index: Term, kind: Any = None) -> Term:
        """The element at ``index``, or as much as ``kind`` holds from there on."""
        kind = kind or self.pointer.type.pointee
        value = self.builder.load(self._at(index, kind))
        value.align = _alignment(kind)
        return Term(self.builder, value)

    def store(self, index: Term, term: Term) -> None:
        self.builder.store(term.value, self._at(index, term.type)).align = _alignment(term.type)


class Register:
    """A variable that loops may change; lives in registers once optimised."""

    def __init__(self, builder: Any, kind: Any) -> None:
        self.builder = builder
        self.slot = cgutils.alloca_once(builder, kind)
        builder.store(ir.Constant(kind, None), self.slot)

    def __iadd__(self, term: Term) -> Register:
        self.builder.store((self.term + term).value, self.slot)
        return self

    @property
    def term(self) -> Term:
        return Term(self.builder, self.builder.load(self.slot))


class Code:
    """Where instructions go."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    @staticmethod
    def vector(kind: Any, lanes: int) -> Any:
        return ir.VectorType(kind, lanes)

    def zero(self, kind: Any) -> Register:
        return Register(self.builder, kind)

    @contextmanager
    def count(self, start: Term | int, stop: Term, step: int = 1) -> Iterator[Term]:
        """A loop over ``range(start, stop, step)``."""
        first = start.value if isinstance(start, Term) else LONG(start)
        loop = cgutils.for_range_slice(self.builder, first, stop.value, LONG(step), inc=True)
        with loop as (index, _):
            yield Term(self.builder, index)

    def saturated(self, operation: str, one: Term, other: Term) -> Term:
        """``add`` or ``sub`` of vectors of shorts, held at the ends of 16 bits."""
        return self.call(f"llvm.s{operation}.sat.v{one.type.count}i16", one, other)

    def clipped(self, term: Term, kind: Any) -> Term:
        """A vector of wider integers, clipped to what ``kind`` holds."""
        most = (1 << (kind.width - 1)) - 1
        low, high = (term._of(bound) for bound in (-most - 1, most))
        name = f"v{term.type.count}i{term.type.element.width}"
        clipped = self.call(f"llvm.smin.{name}", term, Term(self.builder, high))
        clipped = self.call(f"llvm.smax.{name}", clipped, Term(self.builder, low))
        return clipped.narrowed(self.vector(kind, term.type.count))

    def larger(self, one: Term, other: Term) -> Term:
        """The larger one of each lane."""
        kind = one.type
        return self.call(f"llvm.smax.v{kind.count}i{kind.element.width}", one, other)

    def smaller(self, one: Term, other: Term) -> Term:
        """The smaller one of each lane."""
        kind = one.type
        return self.call(f"llvm.smin.v{kind.count}i{kind.element.width}", one, other)

    def divided(self, one: Term, other: Term) -> Term:
        """Quotients of shorts, none negative, by positive ones, rounded down.

        float32 is exact here: a fraction that is no whole number is at least ``1 / other`` below
        the next one, which is more than the 2^-24th part of it that rounding may add.
        """
        floats = self.vector(ir.FloatType(), one.type.count)
        parts = [self.builder.sitofp(term.value, floats) for term in (one, other)]
        quotients = self.builder.fptosi(self.builder.fdiv(*parts), one.type)
        return Term(self.builder, quotients)

    def call(self, name: str, *terms: Term) -> Term:
        """An LLVM intrinsic whose result has its operands' type."""
        kind = terms[0].type
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(kind, [kind] * len(terms)), name
        )
        return Term(self.builder, self.builder.call(function, [term.value for term in terms]))


def instruction(returns: Any) -> Callable[[Callable[..., Term | None]], Any]:
    """Make a function over terms callable from numba; integer literals arrive as int64."""

    def decorate(emit: Callable[..., Term | None]) -> Any:
        def typed(_typing: Any, *kinds: Any) -> Any:
            plain = [types.int64 if isinstance(k, types.IntegerLiteral) else k for k in kinds]

            def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
                operands: list[Column | Term] = []
                for kind, value in zip(plain, values, strict=True):
                    if isinstance(kind, types.CPointer):
                        operands.append(Column(builder, value))
                    elif isinstance(kind, types.Array):
                        data = context.make_array(kind)(context, builder, value).data
                        operands.append(Column(builder, data))
                    else:
                        operands.append(Term(builder, value))
                result = emit(Code(builder), *operands)
                return context.get_dummy_value() if result is None else result.value

            return returns(*plain), generate

        functools.update_wrapper(typed, emit)  # numba reads the names of the arguments
        return intrinsic(typed)

    return decorate


def _alignment(kind: Any) -> int:
    """Bytes that an address is sure to be a multiple of: one element's."""
    element = getattr(kind, "element", kind)
    return int(element.width) // 8
