"""The inner loops: what a window's events add up to, and what neurons make of it.

LLVM's vector types are as wide as we say and become whatever the machine has: 512-bit
registers with AVX-512, 256-bit with AVX2, 128-bit with NEON. Nothing here names an
instruction set.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from spikeserve.models.engines.kernels.arguments import WORD
from spikeserve.models.engines.kernels.code import INT, LONG, SHORT, Code, Column, Term, instruction

UNROLL = 4  # events whose addresses are worked out side by side


def _gatherer(width: int) -> Any:
    @instruction(types.int64)
    def gather(
        code: Code, events: Column, pointer: Column, left: Term, right: Term, pitch: Term,
        kernel: Term, weights: Column, base: Term, skip: Term, currents: Column, at: Term,
    ) -> Term:  # fmt: skip
        """Sums of the weight rows that a window's events address; returns how many there were.

        Window row k's events lie between ``pointer[left + k * pitch]`` and
        ``pointer[right + k * pitch]``; its weights begin at ``base + k * skip``.

        Weights come two channels to a 16-bit number, ``high * 256 + (low + 128)``. Sums of
        whole numbers, modulo 2^16, and sums of their arithmetic right shift by 8 give both
        channels' exact sums: one load and three instructions, where int8 widened to int16
        would take two loads and four.
        """
        lanes = code.vector(SHORT, width // 2)
        total, high, count = code.zero(lanes), code.zero(lanes), code.zero(LONG)
        with code.count(0, kernel) as k:
            begin = pointer.load(left + k * pitch).widened(LONG)
            end = pointer.load(right + k * pitch).widened(LONG)
            count += end - begin
            first_row = base + k * skip

            def add(index: Term) -> None:
                nonlocal total, high
                event = events.load(index).widened(LONG)
                row = weights.load(first_row + event * width, lanes)
                total += row
                high += row >> 8

            whole = begin + ((end - begin) & -UNROLL)
            with code.count(begin, whole, UNROLL) as index:
                for ahead in range(UNROLL):
                    add(index + ahead)
            with code.count(whole, end) as index:
                add(index)
        offset = (count.term << 7).narrowed(SHORT).spread(width // 2)
        currents.store(at, total.term - (high.term << 8) - offset)
        currents.store(at + width // 2, high.term)
        return count.term

    return gather


gather_64 = _gatherer(64)
gather_128 = _gatherer(128)


def _wide_gatherer(width: int) -> Any:
    @instruction(types.void)
    def gather(
        code: Code, events: Column, pointer: Column, left: Term, right: Term, pitch: Term,
        kernel: Term, weights: Column, base: Term, skip: Term, gain: Term, shift: Term,
        currents: Column, at: Term,
    ) -> None:  # fmt: skip
        """``sums * gain >> shift`` of the same weight rows in 32 bits, clipped: where 16 may not
        hold the sums.
        """
        lanes, ints = code.vector(SHORT, width // 2), code.vector(INT, width // 2)
        low, high = code.zero(ints), code.zero(ints)
        with code.count(0, kernel) as k:
            begin = pointer.load(left + k * pitch).widened(LONG)
            end = pointer.load(right + k * pitch).widened(LONG)
            with code.count(begin, end) as index:
                event = events.load(index).widened(LONG)
                row = weights.load(base + k * skip + event * width, lanes)
                low += ((row & 255) - 128).widened(ints)
                high += (row >> 8).widened(ints)
        for half, total in enumerate((low, high)):
            scaled = total.term * gain.narrowed(INT).spread(width // 2)
            shifted = scaled >> shift.narrowed(INT).spread(width // 2)
            currents.store(at + half * (width // 2), code.clipped(shifted, SHORT))

    return gather


gather_wide_64 = _wide_gatherer(64)
gather_wide_128 = _wide_gatherer(128)


def _short_gatherer(width: int) -> Any:
    @instruction(types.void)
    def gather(
        code: Code, events: Column, pointer: Column, left: Term, right: Term, pitch: Term,
        kernel: Term, weights: Column, base: Term, skip: Term, gain: Term, shift: Term,
        currents: Column, at: Term,
    ) -> None:  # fmt: skip
        """``sums * gain >> shift`` of weight rows of shorts in 32 bits, clipped."""
        shorts, ints = code.vector(SHORT, width), code.vector(INT, width)
        total = code.zero(ints)
        with code.count(0, kernel) as k:
            begin = pointer.load(left + k * pitch).widened(LONG)
            end = pointer.load(right + k * pitch).widened(LONG)
            with code.count(begin, end) as index:
                event = events.load(index).widened(LONG)
                row = weights.load(base + k * skip + event * width, shorts)
                total += row.widened(ints)
        scaled = total.term * gain.narrowed(INT).spread(width)
        shifted = scaled >> shift.narrowed(INT).spread(width)
        currents.store(at, code.clipped(shifted, SHORT))

    return gather


gather_shorts_64 = _short_gatherer(64)
gather_shorts_128 = _short_gatherer(128)


@instruction(types.int64)
def count_events(
    code: Code, _events: Column, pointer: Column, left: Term, right: Term, pitch: Term,
    kernel: Term, _weights: Column, _base: Term, _skip: Term, _currents: Column, _at: Term,
) -> Term:  # fmt: skip
    """How many events a window has, without their sums."""
    count = code.zero(LONG)
    with code.count(0, kernel) as k:
        begin = pointer.load(left + k * pitch).widened(LONG)
        count += pointer.load(right + k * pitch).widened(LONG) - begin
    return count.term


def _convolver(positions: int) -> Any:
    @instruction(types.void)
    def convolve(
        code: Code, inputs: Column, first: Term, pitch: Term, gap: Term, kernel: Term, run: Term,
        weights: Column, base: Term, gain: Term, shift: Term, currents: Column, at: Term,
    ) -> None:  # fmt: skip
        """``WORD`` channels of ``positions`` neighbouring windows, analog inputs two at a time:
        ``sums * gain >> shift``, clipped.

        Window row k's inputs are the ``2 * run`` from ``first + k * pitch`` on, the next
        window lies ``gap`` further. Multiplying 16-bit pairs and adding neighbours is one
        instruction on many machines; LLVM knows the pattern.
        """
        pairs, products = code.vector(SHORT, 2 * WORD), code.vector(INT, 2 * WORD)
        sums = [code.zero(code.vector(INT, WORD)) for _ in range(positions)]
        with code.count(0, kernel) as k, code.count(0, run) as tap:
            weight = weights.load(base + (k * run + tap) * (2 * WORD), pairs).widened(products)
            source = first + k * pitch + tap * 2
            for index in range(positions):
                pair = inputs.load(source + gap * index, code.vector(SHORT, 2))
                values = pair.reinterpreted(INT).spread(WORD).reinterpreted(pairs)
                product = weight * values.widened(products)
                sums[index] += product.lanes(range(0, 2 * WORD, 2)) + product.lanes(
                    range(1, 2 * WORD, 2)
                )
        for index, total in enumerate(sums):
            scaled = total.term * gain.narrowed(INT).spread(WORD)
            shifted = scaled >> shift.narrowed(INT).spread(WORD)
            currents.store(at + index * WORD, code.clipped(shifted, SHORT))

    return convolve


convolve_1 = _convolver(1)
convolve_4 = _convolver(4)


def _charged(
    code: Code, currents: Column, at: Term, biases: Column, bias_at: Term, old: Column,
    old_at: Term, multiplier: Term, whole: Term, nearest: Term | None,
) -> Term:  # fmt: skip
    """Membranes of ``WORD`` neurons after their leak and their currents.

    ``floor(v * multiplier / 65536) + (v & whole)`` is ``floor(v * leak)`` for every leak in
    0…65536 65536ths, within 16 bits. What that floor takes away is the lower half of the product,
    whose highest bit says whether the next number is nearer.
    """
    shorts, ints = code.vector(SHORT, WORD), code.vector(INT, WORD)
    current = code.saturated("add", currents.load(at, shorts), biases.load(bias_at, shorts))
    v = old.load(old_at, shorts)
    product = v.widened(ints) * multiplier.widened(INT).spread(WORD)
    leaked = (product >> 16).narrowed(shorts) + (v & whole.spread(WORD))
    if nearest is not None:
        leaked -= (v * multiplier.spread(WORD) >> 15) & nearest.spread(WORD)
    return code.saturated("add", leaked, current)


def _firing(plain: bool) -> Any:
    @instruction(types.uint64)
    def fire(
        code: Code, currents: Column, at: Term, biases: Column, bias_at: Term,
        thresholds: Column, reset_by: Column, minima: Column, channel: Term, old: Column,
        old_at: Term, new: Column, neuron: Term, multiplier: Term, whole: Term, nearest: Term,
        soft: Term, blocked: Term,
    ) -> Term:  # fmt: skip
        """One LIF step of ``WORD`` neighbouring neurons; returns their spikes as a mask.

        The ``plain`` ones, whose leaks are rounded down and who have no minimum, do without both.
        """
        shorts = code.vector(SHORT, WORD)
        v = _charged(
            code, currents, at, biases, bias_at, old, old_at, multiplier, whole,
            None if plain else nearest,
        )  # fmt: skip
        spikes = (v >= thresholds.load(channel, shorts)).reinterpreted(LONG) & ~blocked
        reset = code.saturated("sub", v, reset_by.load(channel, shorts)) & soft.spread(WORD)
        fired = spikes.reinterpreted(code.vector(ir.IntType(1), WORD))
        v = reset.where(fired, v)
        new.store(neuron, v if plain else code.larger(v, minima.load(channel, shorts)))
        return spikes

    return fire


fire_plain_word = _firing(plain=True)
fire_word = _firing(plain=False)


@instruction(types.void)
def count_word(
    code: Code, currents: Column, at: Term, biases: Column, bias_at: Term, thresholds: Column,
    reset_by: Column, minima: Column, channel: Term, old: Column, old_at: Term, new: Column,
    neuron: Term, multiplier: Term, whole: Term, nearest: Term, most: Term, never: Term,
    counts: Column,
) -> None:  # fmt: skip
    """The same for neurons that may spike up to ``most`` times: how often each does."""
    shorts, ints = code.vector(SHORT, WORD), code.vector(INT, WORD)
    nothing = code.zero(shorts).term
    v = _charged(
        code, currents, at, biases, bias_at, old, old_at, multiplier, whole, nearest
    )  # fmt: skip
    reached = code.divided(code.larger(v, nothing), thresholds.load(channel, shorts))
    times = code.smaller(reached, most.spread(WORD))
    times = nothing.where(never.reinterpreted(code.vector(ir.IntType(1), WORD)), times)
    taken = times.widened(ints) * reset_by.load(channel, shorts).widened(ints)
    v = code.clipped(v.widened(ints) - taken, SHORT)
    new.store(neuron, code.larger(v, minima.load(channel, shorts)))
    counts.store(code.zero(LONG).term, times)


@instruction(types.void)
def add_gated(
    code: Code, masks: Column, first: Term, pitch: Term, gap: Term, rows: Term, columns: Term,
    weights: Column, base: Term, skip: Term, step: Term, currents: Column, at: Term,
) -> None:  # fmt: skip
    """Add, for every place of a window, the weights of ``WORD`` channels whose mask bit is set.

    The window's ``rows`` x ``columns`` mask words lie ``gap`` apart in rows ``pitch`` apart,
    their weights ``step`` apart in rows ``skip`` apart.
    """
    shorts = code.vector(SHORT, WORD)
    total, nothing = code.zero(shorts), code.zero(shorts).term
    with code.count(0, rows) as i, code.count(0, columns) as j:
        word = masks.load(first + i * pitch + j * gap)
        bits = word.reinterpreted(code.vector(ir.IntType(1), WORD))
        total += weights.load(base + i * skip + j * step, shorts).where(bits, nothing)
    currents.store(at, code.saturated("add", currents.load(at, shorts), total.term))


@instruction(types.int64)
def trailing_zeros(code: Code, word: Term) -> Term:
    """Index of the lowest set bit; 64 for an empty word."""
    return Term(code.builder, code.builder.cttz(word.value, ir.IntType(1)(0)))


@instruction(types.int64)
def population(code: Code, word: Term) -> Term:
    """How many bits are set."""
    return Term(code.builder, code.builder.ctpop(word.value))


@instruction(types.int64)
def claim(code: Code, counter: Column) -> Term:
    """The counter's value before adding one, atomically: threads share out rows with it."""
    added = code.builder.atomic_rmw("add", counter.pointer, LONG(1), "monotonic")
    return Term(code.builder, added)
