"""``spiketrain data``: a published set fetched, or a folder of pictures made one."""

from __future__ import annotations

import argparse
from pathlib import Path

from spikeserve.training import options as values
from spikeserve.training.data import DATASETS
from spikeserve.training.data.data_card import DataCard
from spikeserve.training.data.folder import prepared, set_name
from spikeserve.training.data.own import CARD_TEXT
from spikeserve.training.errors import DataError

ABOUT = "fetch and verify a data set, or prepare a folder of pictures"
FOLDER = "folder"
SIZE = 64
PREPARATION = ("size", "channels", "test_share", "seed")
FOLDER_OPTIONS = ("path", "name", *PREPARATION)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset",
        choices=[*sorted(DATASETS), FOLDER],
        help="a published set, or folder: your own pictures",
    )
    parser.add_argument("--source", type=Path, help="archive or folder instead of a download")
    parser.add_argument(
        "path",
        nargs="?",
        type=values.folder,
        help="of folder: holds a folder of pictures for each class, or train/ and val/ or test/ "
        "that do",
    )
    add_folder_options(parser)


def add_folder_options(parser: argparse.ArgumentParser, *, named: bool = True) -> None:
    """How pictures become a data set; what is not given is None."""
    of_folders = parser.add_argument_group("of folders of pictures")
    if named:
        of_folders.add_argument("--name", type=values.name, help="default: the folder's")
    of_folders.add_argument(
        "--size",
        type=values.size,
        metavar="PIXELS",
        help=f"of the network's input, or HEIGHTxWIDTH; pictures are cropped at their centre to "
        f"that shape (default: {SIZE})",
    )
    of_folders.add_argument("--channels", type=int, choices=(1, 3), help="grey or colour (default)")
    of_folders.add_argument(
        "--test-share",
        type=values.part,
        metavar="SHARE",
        help="of the pictures, to evaluate on, where there are no train/ and val/ (default: 0.2)",
    )
    of_folders.add_argument("--seed", type=values.seed, help="that draws those (default: 1)")


def run(options: argparse.Namespace) -> None:
    """Fetch or prepare what ``options`` say.

    Raises:
        DataError: options that do not belong together, or no set can be made.
    """
    if options.dataset != FOLDER:
        given = [name for name in FOLDER_OPTIONS if getattr(options, name) is not None]
        if given:
            raise DataError(f"{options.dataset} is a published set; {given[0]} is of folder alone")
        new = DATASETS[options.dataset].fetch(options.data, options.source)
        before = "" if new else "; it was there already, nothing was fetched or read"
        print(f"{options.dataset} verified in {options.data / options.dataset}{before}")
        return
    if options.source is not None:
        raise DataError("--source is of published sets: spiketrain data folder PATH")
    if options.path is None:
        raise DataError("which folder? spiketrain data folder PATH")
    card = prepare(options.path, options.data, options)
    place = options.data / card.name
    print(card.text())
    print(f"prepared in {place} (the above: {place / CARD_TEXT})")
    sets = "" if options.data == Path("data") else f" --sets {options.data}"
    print(f"go on: spiketrain new {card.name} --data {card.name}{sets}")


def prepare(path: Path, root: Path, options: argparse.Namespace) -> DataCard:
    """Prepare the pictures in ``path``, as a set in ``root``.

    Raises:
        DataError: see :func:`spikeserve.training.data.folder.prepared`.
    """
    name = options.name or set_name(path)
    if name in (*DATASETS, FOLDER):
        raise DataError(f"{name!r} is a published set's name; pass another --name")
    height, width = options.size or (SIZE, SIZE)
    return prepared(
        path,
        root,
        name,
        (height, width, options.channels or 3),
        share=0.2 if options.test_share is None else options.test_share,
        seed=1 if options.seed is None else options.seed,
    )
