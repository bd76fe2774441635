"""Which pictures are trained on and which are evaluated on, so that no picture is on both sides.

Where a folder has splits they are kept: ``test`` is evaluated on, or ``val`` where there is no
``test``; ``val`` beside ``test`` is trained on with ``train``, since pictures to calibrate on are
held out of those. Otherwise a share of every class is drawn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spikeserve.training.data.class_folders import Picture
from spikeserve.training.data.dataset import Pixels
from spikeserve.training.data.twins import MOST_COMPARISONS, Shapes, correlate, near_pairs

NAMED = 5  # pairs that a note names

Indices = NDArray[np.int64]


@dataclass
class Sides:
    """Indices of pictures, in the order they were found."""

    train: Indices
    test: Indices
    origins: dict[str, str]
    """What each side was made of."""
    drawn: bool
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def divided(
    pictures: list[Picture],
    digests: list[bytes],
    shapes: Shapes,
    images: Pixels,
    share: float,
    seed: int,
) -> Sides:
    """Divide ``pictures``; those to evaluate on that are elsewhere, too, are left out.

    Args:
        digests: equal where the network sees equal pixels.
        shapes: ``[N, 4]``, nearly equal where pictures are.
        images: their pixels, ``[N, H, W, C]``.
        share: of each class to evaluate on, and ``seed``, by which it is drawn, where the
            pictures have no splits.
    """
    splits = {picture.split for picture in pictures}
    drawn = splits == {""}
    if drawn:
        test = _drawn(pictures, digests, share, seed)
        origins = {
            "train": "all others",
            "evaluate": f"{100 * share:g} % of each class, drawn with seed {seed}",
        }
    else:
        chosen = "test" if "test" in splits else "val"
        test = {index for index, picture in enumerate(pictures) if picture.split == chosen}
        joined = "train/ and val/" if chosen == "test" and "val" in splits else "train/"
        origins = {"train": joined, "evaluate": f"{chosen}/"}
    train = [index for index in range(len(pictures)) if index not in test]
    sides = Sides(_array(train), _array(sorted(test)), origins, drawn)
    if not drawn and origins["train"] != "train/":
        sides.notes.append(
            "val/ is trained on as well: pictures to calibrate on are held out of both"
        )
    _leave_out_equal(sides, pictures, digests)
    _leave_out_near(sides, pictures, shapes, images)
    _note_repeated(sides, pictures, digests)
    return sides


def _drawn(pictures: list[Picture], digests: list[bytes], share: float, seed: int) -> set[int]:
    """A share of every class, at least one of two, from pictures that are there once."""
    count, generator = Counter(digests), np.random.default_rng(seed)
    by_class: dict[str, list[int]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        by_class[picture.label].append(index)
    test: set[int] = set()
    for label in sorted(by_class):
        members = by_class[label]
        single = [index for index in members if count[digests[index]] == 1]
        wanted = min(max(1, round(share * len(members))), len(members) - 1, len(single))
        test.update(generator.permutation(single)[:wanted].tolist())
    return test


def _leave_out_equal(sides: Sides, pictures: list[Picture], digests: list[bytes]) -> None:
    first = {digests[index]: index for index in reversed(sides.train.tolist())}
    kept = []
    for index in sides.test.tolist():
        twin = first.setdefault(digests[index], index)
        if twin == index:
            kept.append(index)
        else:
            place = pictures[twin].place
            sides.left_out[pictures[index].place] = f"not evaluated on: the same pixels as {place}"
    _note_left_out(sides, len(sides.test) - len(kept), "the same pixels")
    sides.test = _array(kept)


def _leave_out_near(sides: Sides, pictures: list[Picture], shapes: Shapes, images: Pixels) -> None:
    if len(sides.train) * len(sides.test) > MOST_COMPARISONS:
        sides.notes.append("too many pictures to look for nearly equal ones; equal ones were found")
        return
    twins: dict[int, int] = {}
    for row, column in near_pairs(shapes[sides.test], shapes[sides.train]):
        ours, theirs = int(sides.test[row]), int(sides.train[column])
        if ours not in twins and correlate(images[ours], images[theirs]):
            twins[ours] = theirs
    for ours, theirs in twins.items():
        place = pictures[theirs].place
        sides.left_out[pictures[ours].place] = f"not evaluated on: nearly the same as {place}"
    _note_left_out(sides, len(twins), "nearly the same pixels")
    sides.test = _array([index for index in sides.test.tolist() if index not in twins])


def _note_left_out(sides: Sides, count: int, what: str) -> None:
    if count:
        sides.notes.append(
            f"{count:,} pictures to evaluate on have {what} as another one: not evaluated on"
        )


def _note_repeated(sides: Sides, pictures: list[Picture], digests: list[bytes]) -> None:
    """Pictures to train on that are there twice stay; in two classes they teach neither."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index in sides.train.tolist():
        groups[digests[index]].append(index)
    repeated = [group for group in groups.values() if len(group) > 1]
    if repeated:
        more = sum(len(group) - 1 for group in repeated)
        sides.notes.append(f"{more:,} pictures to train on repeat others; they were kept")
    torn = [group for group in repeated if len({pictures[i].label for i in group}) > 1]
    if torn:
        named = "; ".join(
            " and ".join(pictures[index].place for index in group[:2]) for group in torn[:NAMED]
        )
        sides.notes.append(
            f"{len(torn):,} pictures to train on are in more than one class: {named}"
            + (" …" if len(torn) > NAMED else "")
        )


def _array(indices: list[int]) -> Indices:
    return np.array(indices, np.int64)
