"""Vector instructions that numba cannot write itself, as LLVM intermediate code.

LLVM's vector types are as wide as we say and become whatever the machine has: 512-bit
registers with AVX-512, 256-bit with AVX2, 128-bit with NEON. Nothing here names an
instruction set.

Weights are packed two channels to a 16-bit lane (:func:`models.engines.kernels.layout.packed`),
``high * 256 + (low + 128)``. Summing whole lanes and, apart, their arithmetic right shift
by 8 gives both channels' exact int16 sums for three instructions a lane instead of four,
and one load of 64 bytes instead of two of 32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

SHORT, INT, LONG = ir.IntType(16), ir.IntType(32), ir.IntType(64)
WORD = 64  # neurons whose spikes share one mask word
UNROLL = 4

Builder = Any
Value = Any


def _pointer(context: Any, builder: Builder, array_type: Any, array: Value, index: Value) -> Value:
    """Address of ``array[index]`` for a contiguous array of one dimension."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _load(builder: Builder, pointer: Value, vector: ir.VectorType) -> Value:
    value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    value.align = 1
    return value


def _store(builder: Builder, value: Value, pointer: Value) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = 1


def _splat(builder: Builder, scalar: Value, lanes: int) -> Value:
    vector = ir.VectorType(scalar.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, INT(0))
    zeros = ir.Constant(ir.VectorType(INT, lanes), [0] * lanes)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _constant(vector: ir.VectorType, value: float) -> Value:
    return ir.Constant(vector, [value] * vector.count)


def _gatherer(width: int) -> Callable[..., int]:
    lanes = width // 2
    vector = ir.VectorType(SHORT, lanes)

    @intrinsic
    def gather(  # type: ignore[no-untyped-def]
        _typing, events, pointer, left, right, pitch, kernel, weights, base, skip, currents, at
    ):
        """Sums of the weight rows that a window's events address; returns how many there were.

        Window row k's events lie between ``pointer[left + k * pitch]`` and
        ``pointer[right + k * pitch]``; its weights begin at ``base + k * skip``.
        """
        long = types.int64
        signature = types.int64(
            events, pointer, long, long, long, long, weights, long, long, currents, long
        )

        def generate(context: Any, builder: Builder, _signature: Any, arguments: Any) -> Value:
            (
                events_,
                pointer_,
                left_,
                right_,
                pitch_,
                kernel_,
                weights_,
                base_,
                skip_,
                currents_,
                at_,
            ) = arguments

            def zeroed(kind: Any) -> Value:
                slot = cgutils.alloca_once(builder, kind)
                builder.store(ir.Constant(kind, None), slot)
                return slot

            total, high, count = zeroed(vector), zeroed(vector), zeroed(LONG)
            eights = _constant(vector, 8)

            def place(side: Value, k: Value) -> Value:
                index = builder.add(side, builder.mul(k, pitch_))
                return builder.sext(
                    builder.load(_pointer(context, builder, pointer, pointer_, index)), LONG
                )

            with cgutils.for_range(builder, kernel_) as window:
                k = window.index
                begin, end = place(left_, k), place(right_, k)
                rows = _pointer(
                    context, builder, weights, weights_, builder.add(base_, builder.mul(k, skip_))
                )
                builder.store(builder.add(builder.load(count), builder.sub(end, begin)), count)

                def add(index: Value) -> None:
                    event = builder.load(_pointer(context, builder, events, events_, index))
                    offset = builder.mul(builder.sext(event, LONG), LONG(width))
                    row = _load(builder, builder.gep(rows, [offset]), vector)
                    builder.store(builder.add(builder.load(total), row), total)
                    builder.store(builder.add(builder.load(high), builder.ashr(row, eights)), high)

                whole = builder.add(begin, builder.and_(builder.sub(end, begin), LONG(-UNROLL)))
                with cgutils.for_range_slice(builder, begin, whole, LONG(UNROLL), inc=True) as (
                    index,
                    _,
                ):
                    for ahead in range(UNROLL):
                        add(builder.add(index, LONG(ahead)))
                with cgutils.for_range_slice(builder, whole, end, LONG(1), inc=True) as (index, _):
                    add(index)

            found = builder.load(count)
            high_sum = builder.load(high)
            offset = _splat(builder, builder.trunc(builder.shl(found, LONG(7)), SHORT), lanes)
            low_sum = builder.sub(
                builder.sub(builder.load(total), builder.shl(high_sum, eights)), offset
            )
            low_at = _pointer(context, builder, currents, currents_, at_)
            _store(builder, low_sum, low_at)
            _store(builder, high_sum, builder.gep(low_at, [LONG(lanes)]))
            return found

        return signature, generate

    return gather


gather_64 = _gatherer(64)
gather_128 = _gatherer(128)


def _convolver(positions: int) -> Callable[..., None]:
    vector, pairs = ir.VectorType(INT, WORD), ir.VectorType(SHORT, 2 * WORD)
    products = ir.VectorType(INT, 2 * WORD)

    def lanes(first: int) -> Value:
        return ir.Constant(ir.VectorType(INT, WORD), [2 * k + first for k in range(WORD)])

    @intrinsic
    def convolve(  # type: ignore[no-untyped-def]
        _typing, inputs, first, pitch, gap, kernel, run, weights, base, shift, currents, at
    ):
        """``WORD`` channels of ``positions`` neighbouring windows, inputs two at a time.

        Window row k's inputs are the ``2 * run`` from ``first + k * pitch`` on, the next
        window lies ``gap`` further. Multiplying pairs and adding neighbours is one
        instruction on many machines; LLVM knows the pattern.
        """
        long = types.int64
        signature = types.void(
            inputs, long, long, long, long, long, weights, long, long, currents, long
        )

        def generate(context: Any, builder: Builder, _signature: Any, arguments: Any) -> Value:
            (
                inputs_,
                first_,
                pitch_,
                gap_,
                kernel_,
                run_,
                weights_,
                base_,
                shift_,
                currents_,
                at_,
            ) = arguments
            sums = [cgutils.alloca_once(builder, vector) for _ in range(positions)]
            for total in sums:
                builder.store(ir.Constant(vector, None), total)
            undefined = ir.Constant(products, ir.Undefined)
            with (
                cgutils.for_range(builder, kernel_) as window,
                cgutils.for_range(builder, run_) as tap,
            ):
                k = builder.add(builder.mul(window.index, run_), tap.index)
                place = builder.add(base_, builder.mul(k, LONG(2 * WORD)))
                weight = _load(builder, _pointer(context, builder, weights, weights_, place), pairs)
                source = builder.add(
                    builder.add(first_, builder.mul(window.index, pitch_)),
                    builder.mul(tap.index, LONG(2)),
                )
                for total in sums:
                    pair = _load(
                        builder,
                        _pointer(context, builder, inputs, inputs_, source),
                        ir.VectorType(SHORT, 2),
                    )
                    values = builder.bitcast(
                        _splat(builder, builder.bitcast(pair, INT), WORD), pairs
                    )
                    product = builder.mul(
                        builder.sext(weight, products), builder.sext(values, products)
                    )
                    even = builder.shuffle_vector(product, undefined, lanes(0))
                    odd = builder.shuffle_vector(product, undefined, lanes(1))
                    builder.store(builder.add(builder.load(total), builder.add(even, odd)), total)
                    source = builder.add(source, gap_)
            shifts = _splat(builder, builder.trunc(shift_, INT), WORD)
            for total in sums:
                current = builder.ashr(builder.load(total), shifts)
                _store(
                    builder,
                    builder.trunc(current, ir.VectorType(SHORT, WORD)),
                    _pointer(context, builder, currents, currents_, at_),
                )
                at_ = builder.add(at_, LONG(WORD))
            return context.get_dummy_value()

        return signature, generate

    return convolve


convolve_1 = _convolver(1)
convolve_4 = _convolver(4)


@intrinsic
def fire_word(  # type: ignore[no-untyped-def]
    _typing,
    currents,
    at,
    biases,
    thresholds,
    channel,
    old,
    old_at,
    new,
    new_at,
    multiplier,
    keep,
    soft,
    blocked,
):
    """One LIF step of 64 neighbouring neurons; returns their spikes as a mask.

    ``leaked = floor(v * multiplier / 65536) + (v & keep)`` is ``floor(v * leak_q / 256)``
    for every ``leak_q`` in 0…256 within int16.
    """
    long = types.int64
    signature = types.uint64(
        currents, long, biases, thresholds, long, old, long, new, long,
        types.int16, types.int16, types.int16, types.uint64,
    )  # fmt: skip
    vector = ir.VectorType(SHORT, WORD)
    wide = ir.VectorType(INT, WORD)
    bits = ir.VectorType(ir.IntType(1), WORD)

    def generate(context: Any, builder: Builder, _signature: Any, arguments: Any) -> Value:
        (
            currents_, at_, biases_, thresholds_, channel_, old_, old_at_, new_, new_at_,
            multiplier_, keep_, soft_, blocked_,
        ) = arguments  # fmt: skip

        def saturating(name: str, left: Value, right: Value) -> Value:
            function = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(vector, (vector, vector)),
                f"llvm.{name}.sat.v{WORD}i16",
            )
            return builder.call(function, (left, right))

        current = builder.add(
            _load(builder, _pointer(context, builder, currents, currents_, at_), vector),
            _load(builder, _pointer(context, builder, biases, biases_, channel_), vector),
        )
        threshold = _load(
            builder, _pointer(context, builder, thresholds, thresholds_, channel_), vector
        )
        v = _load(builder, _pointer(context, builder, old, old_, old_at_), vector)
        product = builder.mul(
            builder.sext(v, wide), _splat(builder, builder.sext(multiplier_, INT), WORD)
        )
        leaked = builder.add(
            builder.trunc(builder.ashr(product, _constant(wide, 16)), vector),
            builder.and_(v, _splat(builder, keep_, WORD)),
        )
        v = saturating("sadd", leaked, current)
        reached = builder.bitcast(builder.icmp_signed(">=", v, threshold), LONG)
        spikes = builder.and_(reached, builder.not_(blocked_))
        reset = builder.and_(saturating("ssub", v, threshold), _splat(builder, soft_, WORD))
        v = builder.select(builder.bitcast(spikes, bits), reset, v)
        _store(builder, v, _pointer(context, builder, new, new_, new_at_))
        return spikes

    return signature, generate


@intrinsic
def trailing_zeros(_typing, word):  # type: ignore[no-untyped-def]
    """Index of the lowest set bit; 64 for an empty word."""

    def generate(_context: Any, builder: Builder, _signature: Any, arguments: Any) -> Value:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(word), generate


@intrinsic
def population(_typing, word):  # type: ignore[no-untyped-def]
    """How many bits are set."""

    def generate(_context: Any, builder: Builder, _signature: Any, arguments: Any) -> Value:
        return builder.ctpop(arguments[0])

    return types.int64(word), generate


@intrinsic
def claim(_typing, counter):  # type: ignore[no-untyped-def]
    """The counter's value before adding one, atomically: threads share out rows with it."""

    def generate(context: Any, builder: Builder, _signature: Any, arguments: Any) -> Value:
        at = _pointer(context, builder, counter, arguments[0], LONG(0))
        return builder.atomic_rmw("add", at, LONG(1), "monotonic")

    return types.int64(counter), generate
