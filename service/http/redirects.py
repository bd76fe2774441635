"""A slash too many or too few: told where the page is, as Starlette does.

But by path alone: which host and scheme a client speaks to, only the proxies before us know.
"""

from __future__ import annotations

from starlette.responses import RedirectResponse
from starlette.routing import Match, Router
from starlette.types import Receive, Scope, Send


class Redirects:
    """What a router does with paths that it does not know."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._unknown = router.default
        router.redirect_slashes, router.default = False, self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        near = self._near(scope) if scope["type"] == "http" else ""
        if near and any(
            route.matches({**scope, "path": near})[0] is not Match.NONE
            for route in self._router.routes
        ):
            query = scope["query_string"].decode("latin-1")
            await RedirectResponse(f"{near}?{query}" if query else near)(scope, receive, send)
        else:
            await self._unknown(scope, receive, send)

    def _near(self, scope: Scope) -> str:
        """The path with a slash less or more, below its prefix; empty where there is none."""
        prefix = scope.get("root_path", "")
        path = scope["path"].removeprefix(prefix)
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        # Two slashes in front would name another host.
        return "" if not other or other.startswith("//") else prefix + other
