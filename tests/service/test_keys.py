"""API keys, the admin key and rate limits: off by default, exact when on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from spikeserve.service.app import create_app
from spikeserve.service.keys import TokenBucket, key_hash
from spikeserve.service.settings import Settings

KEYS = ("first-key", "second-key")


@pytest.fixture
def guarded(bundle_folder: Path) -> Settings:
    return Settings(bundles=(bundle_folder,), api_key_hashes=tuple(map(key_hash, KEYS)))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_only_known_keys_pass_and_probes_need_none(
    guarded: Settings, png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with TestClient(create_app(guarded)) as client:
        for path in ("/classify", "/classify/stream", "/classify/batch"):
            refused = client.post(path, content=png)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        assert client.post("/classify", content=png, headers=bearer("wrong")).status_code == 401
        assert client.post("/classify", headers={"Authorization": "Basic x"}).status_code == 401
        assert client.get("/v1/models").status_code == 401
        for key in KEYS:
            assert client.post("/classify", content=png, headers=bearer(key)).status_code == 200
            assert client.get("/v1/models", headers=bearer(key)).status_code == 200
        for path in ("/livez", "/readyz", "/metrics"):
            assert client.get(path).status_code == 200
    assert not any(secret in caplog.text for secret in (*KEYS, "wrong"))


def test_each_key_has_its_own_rate(guarded: Settings, png: bytes) -> None:
    settings = guarded.model_copy(
        update={"rate_limit_images_per_second": 0.01, "rate_burst_images": 2}
    )
    with TestClient(create_app(settings)) as client:
        first = [client.post("/classify", content=png, headers=bearer(KEYS[0])) for _ in range(3)]
        assert [response.status_code for response in first] == [200, 200, 429]
        assert int(first[-1].headers["retry-after"]) > 1
        assert client.post("/classify", content=png, headers=bearer(KEYS[1])).status_code == 200
        form = [("file", ("a.png", png, "image/png"))] * 2
        batch = client.post("/classify/batch", files=form, headers=bearer(KEYS[1]))
        assert batch.status_code == 429


def test_a_bucket_refills_at_its_rate_up_to_its_burst() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=0.0)
    assert [bucket.take(1, 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take(1, 0.5) == 0
    assert bucket.take(3, 1000.0) == 0
    assert bucket.take(1, 1000.0) == 0.5


def test_keys_are_given_as_hashes() -> None:
    with pytest.raises(ValueError, match="api_key_hashes") as refusal:
        Settings(api_key_hashes=("plain text",))
    assert "plain text" not in str(refusal.value)
