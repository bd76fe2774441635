"""Which callers may classify, and how often: API keys as hashes, a token bucket for each."""

from __future__ import annotations

import hashlib
import hmac
import time

from starlette.requests import Request

from spikeserve.service.errors import InvalidParameter, RateLimited, Unauthorised

SCHEME = "bearer "


class TokenBucket:
    """``burst`` tokens at most, ``rate`` new ones a second. Pure: the clock is the caller's."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self.rate, self.burst = rate, burst
        self._tokens, self._at = float(burst), now

    def take(self, tokens: int, now: float) -> float:
        """Take tokens if there are enough; returns 0, or the seconds until there will be."""
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if tokens > self._tokens:
            return (tokens - self._tokens) / self.rate
        self._tokens -= tokens
        return 0.0


class Gate:
    """Checks the key in ``Authorization: Bearer …`` and counts what it sends.

    Only hashes are kept. Every known hash is compared, in constant time, so that the time
    tells nothing. Without keys everybody is one and the same caller.
    """

    def __init__(
        self, keys: tuple[str, ...], admin_key: str | None, rate: float, burst: int
    ) -> None:
        self._keys = keys
        self._admin_key = admin_key
        now = time.monotonic()
        self._buckets = (
            {key: TokenBucket(rate, burst, now) for key in keys or ("",)} if rate else {}
        )

    def check(self, request: Request) -> None:
        """Let a caller with a known key pass.

        Raises:
            Unauthorised: no key, or none we know.
        """
        if self._keys:
            request.state.key = self._known(request, self._keys)

    def check_admin(self, request: Request) -> None:
        """Let the operator pass.

        Raises:
            Unauthorised: no key, or not the operator's.
        """
        self._known(request, (self._admin_key,) if self._admin_key else (), "admin")

    def spend(self, request: Request, images: int = 1) -> None:
        """Count images against the caller's rate.

        Raises:
            RateLimited: too many; says when to come again.
            InvalidParameter: more than a bucket ever holds.
        """
        if not self._buckets:
            return
        bucket = self._buckets[getattr(request.state, "key", "")]
        if images > bucket.burst:
            raise InvalidParameter(f"at most {bucket.burst} images at once for one key")
        wait = bucket.take(images, time.monotonic())
        if wait:
            raise RateLimited(f"more than {bucket.rate:g} images a second for one key", wait)

    def _known(self, request: Request, keys: tuple[str, ...], kind: str = "API") -> str:
        given = request.headers.get("authorization", "")
        if given[: len(SCHEME)].lower() != SCHEME:
            raise Unauthorised(f"the {kind} key is needed: Authorization: Bearer <key>")
        digest = key_hash(given[len(SCHEME) :].strip())
        matching = [key for key in keys if hmac.compare_digest(key, digest)]
        if not matching:
            raise Unauthorised(f"this is no {kind} key we know")
        return matching[0]


def key_hash(key: str) -> str:
    """What the settings hold of a key. Keys are long and random, so a plain hash is enough."""
    return hashlib.sha256(key.encode()).hexdigest()
