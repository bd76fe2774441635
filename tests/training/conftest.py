from collections.abc import Iterator

import pytest

from training import neurons


@pytest.fixture(autouse=True)
def _plain_kernels(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Compiling takes longer than these tests, and needs a compiler."""
    if request.node.get_closest_marker("verify") is None:
        monkeypatch.setenv("SPIKETRAIN_COMPILE", "0")
    neurons._kernels.cache_clear()  # one test's choice must not be the next one's
    yield
    neurons._kernels.cache_clear()
