"""What a query string says: nothing twice, and nothing that nobody reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from fastapi import Request

from spikeserve.service.errors import InvalidParameter


def query(request: Request) -> dict[str, str]:
    """The parameters by name.

    Raises:
        InvalidParameter: one is given twice.
    """
    pairs = request.query_params.multi_items()
    values = dict(pairs)
    if len(values) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise InvalidParameter(f"{name[:100]!r} is given twice")
    return values


def check_query(request: Request, *names: str) -> None:
    """That the query says nothing but parameters of these names.

    Raises:
        InvalidParameter: names the other one.
    """
    for name in query(request) if request.scope["query_string"] else ():
        if name not in names:
            known = f"there is {', '.join(names)}" if names else "none is read here"
            raise InvalidParameter(f"unknown parameter {name[:100]!r} in the query; {known}")


def reads(*names: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency of routes that read these parameters; see :func:`check_query`."""

    async def check(request: Request) -> None:  # FastAPI would put a plain function into a thread
        check_query(request, *names)

    return check


async def once(request: Request) -> None:
    """A dependency of routes whose query FastAPI reads: it would take the last of several."""
    query(request)
