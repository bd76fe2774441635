"""``spiketrain new``: from pictures to a recipe for them, and how long it will take."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

from spikeserve.models.shipped import shipped_names
from spikeserve.training import data_command
from spikeserve.training import options as values
from spikeserve.training.bundle_start import PREFIX, bundle_of
from spikeserve.training.data import DATASETS, named
from spikeserve.training.data.class_folders import ClassFolders
from spikeserve.training.data.own import is_prepared
from spikeserve.training.errors import DataError, RecipeError
from spikeserve.training.new_recipe import Plan, sensible, written
from spikeserve.training.recipe import parsed_recipe
from spikeserve.training.rehearsal import Rehearsal, rehearsed

ABOUT = "write a recipe for a data set or a folder of pictures"
START = "hybrid-vgg8-cifar100"
"""What teaches most about other pictures: it has seen the most classes."""
NOTHING = "nothing"
SIZES = ((2_000, 32), (math.inf, 64))
"""Pixels a side for fewer pictures to train on than that."""
SMALLEST = 32
MINUTES = 15.0
LEAST = (3, 1)
"""Epochs of both stages that are needed however long they take."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", type=values.name, help="of the recipe; NAME.toml is written here")
    parser.add_argument(
        "--data",
        required=True,
        help="a folder of pictures, which is prepared first, or a data set's name or folder",
    )
    parser.add_argument(
        "--sets", type=Path, default=Path("data"), help="where data sets lie (default: data)"
    )
    parser.add_argument(
        "--from",
        dest="start",
        default=START,
        metavar="BUNDLE",
        help=f"whose weights to start from: {', '.join(shipped_names())}, a folder, or "
        f"{NOTHING} (default: {START})",
    )
    parser.add_argument(
        "--minutes",
        type=values.minutes,
        default=MINUTES,
        help="that training may take on this machine; fewer epochs otherwise (default: 15)",
    )
    parser.add_argument("--replace", action="store_true", help="overwrite NAME.toml")
    data_command.add_folder_options(parser, named=False)


def run(options: argparse.Namespace) -> None:
    """Prepare the pictures if need be, write the recipe, and say what comes next.

    Raises:
        TrainingError: no data, no such bundle, or the recipe exists.
    """
    path = Path(f"{options.name}.toml")
    if path.exists() and not options.replace:
        raise RecipeError(f"{path} exists; pass --replace, or another name")
    start = None if options.start == NOTHING else options.start
    if start is not None:
        bundle_of(PREFIX + start)
    name = _data(options)
    dataset, root = named(name, options.sets)
    train = dataset.train(root)
    height, width, channels = train.images.shape[1:]
    if min(height, width) < SMALLEST // 2:
        raise DataError(f"{name}: pictures of {height} x {width}; prepare them larger with --size")
    shape = height, width, channels
    plan = sensible(len(train), shape, start)
    fit = len(train) - plan.held_out

    def text(choice: Plan) -> str:
        title = dataset.title.removeprefix("folder ")
        seed = 1 if options.seed is None else options.seed
        return written(options.name, name, title, choice, seed, shape)

    print("timing a few steps on this machine …", flush=True)
    sample = train.part(slice(2 * plan.batch_size))
    recipe = parsed_recipe(text(plan), path)
    reckoned = rehearsed(recipe, len(dataset.labels), sample, fit, plan.held_out)
    plan, reckoned = _within(plan, reckoned, 60 * options.minutes)
    path.write_text(text(plan), encoding="utf-8")
    _tell(options, path, plan, reckoned, fit)


def _data(options: argparse.Namespace) -> str:
    """The name that the recipe gives its data set, once that is prepared.

    Raises:
        DataError: no such data set or folder.
    """
    given = Path(options.data)
    prepared_name = options.data in DATASETS or is_prepared(options.sets / options.data)
    if prepared_name or (given.is_dir() and is_prepared(given)):
        changed = [
            one for one in data_command.PREPARATION[:-1] if getattr(options, one) is not None
        ]
        if changed:
            raise DataError(
                f"{options.data} is prepared already; --{changed[0].replace('_', '-')} is for "
                "folders of pictures"
            )
        return str(options.data)
    if not given.is_dir():
        raise DataError(f"{options.data} is neither a folder nor a data set in {options.sets}")
    if options.size is None:
        side = _side(given)
        options.size = (side, side)
    card = data_command.prepare(given, options.sets, options)
    print(card.text())
    return card.name


def _side(folder: Path) -> int:
    """Pixels a side that suit as many pictures as there are."""
    count = len(ClassFolders(folder).read().pictures)
    return next(side for most, side in SIZES if count < most)


def _within(plan: Plan, reckoned: Rehearsal, seconds: float) -> tuple[Plan, Rehearsal]:
    """As many epochs as ``seconds`` allow, but for a few that are always needed."""
    wanted = sum(reckoned.stages)
    share = (seconds - reckoned.once) / wanted if wanted else 1.0
    if share >= 1:
        return plan, reckoned
    epochs = plan.one_pass_epochs, plan.temporal_epochs
    fewer = tuple(
        max(least, int(share * count)) for count, least in zip(epochs, LEAST, strict=True)
    )
    stages = tuple(
        spent * now / before
        for spent, now, before in zip(reckoned.stages, fewer, epochs, strict=True)
    )
    return (
        replace(plan, one_pass_epochs=fewer[0], temporal_epochs=fewer[1]),
        Rehearsal(reckoned.once, stages),
    )


def _tell(
    options: argparse.Namespace, path: Path, plan: Plan, reckoned: Rehearsal, fit: int
) -> None:
    start = f"starting from the weights of {plan.start}" if plan.start else "from nothing"
    kept = f", of which {plan.frozen} layers stay as they are" if plan.frozen else ""
    print(
        f"{path}: {fit:,} pictures to fit on, {plan.held_out:,} to calibrate on, {start}{kept}; "
        f"{plan.one_pass_epochs} and {plan.temporal_epochs} epochs"
    )
    print(f"training will take about {_spoken(reckoned.seconds)} on this machine as it is now")
    if reckoned.seconds > 60 * options.minutes:
        print(f"note: that is longer than --minutes {options.minutes:g}; fewer epochs teach little")
    data = "" if options.sets == Path("data") else f" --data {options.sets}"
    print(f"go on: spiketrain all {path}{data}")


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds / 10) * 10} seconds"
    if seconds < 5400:
        return f"{math.ceil(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
