"""Calls that nothing may depend on: what fails in them is logged, and the caller goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

logger = logging.getLogger("spikeserve")

P = ParamSpec("P")
T = TypeVar("T")


def attempted(what: str, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | None:
    """The result of a call that no answer may depend on; None where it failed, which is logged.

    Whatever it raises: a ``CancelledError`` or ``SystemExit`` of one hook would otherwise end the
    thread or the loop that everybody's answers come through.
    """
    try:
        return call(*arguments, **named)
    except BaseException:
        complain(f"{what} failed; answers go on")
        return None


def complain(message: str) -> None:
    """Log the exception that is being handled; a log that fails as well must not hide it."""
    with suppress(BaseException):
        logger.exception(message)
