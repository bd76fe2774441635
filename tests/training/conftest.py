import pytest


@pytest.fixture(autouse=True)
def _plain_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes longer than these tests, and needs a compiler."""
    if request.node.get_closest_marker("verify") is None:
        monkeypatch.setenv("SPIKETRAIN_COMPILE", "0")
