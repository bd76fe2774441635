"""Data sets that were prepared from folders of pictures, by name or by path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from spikeserve.training.data.data_card import DataCard
from spikeserve.training.data.dataset import Stored
from spikeserve.training.errors import DataError

CARD, CARD_TEXT = "card.json", "card.txt"
PREFIX = "folder "
"""Titles of such sets begin so, as bundles name them."""


@dataclass(frozen=True)
class OwnSet(Stored):
    """A prepared folder of pictures."""

    card: DataCard

    @property
    def command(self) -> str:
        return f"spiketrain data folder {self.card.source} --name {self.name}"


def is_prepared(folder: Path) -> bool:
    """Whether a data set was prepared there."""
    return (folder / CARD).is_file()


def own_set(folder: Path) -> OwnSet:
    """The data set that was prepared in ``folder``.

    Raises:
        DataError: there is none, or its card is damaged.
    """
    path = folder / CARD
    try:
        card = DataCard.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no data set; spiketrain data folder prepares one from pictures"
        ) from error
    except (OSError, ValueError, ValidationError) as error:
        raise DataError(f"{path} cannot be read: {error}; prepare the folder again") from error
    return OwnSet(
        name=folder.name,
        title=PREFIX + card.name,
        citation=f"prepared from {Path(card.source).name}",
        labels=card.labels,
        sha256=card.sha256,
        card=card,
    )
