from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeserve.models.encoding import Encoding, spike_times


def test_hybrid_is_analog_first_and_then_one_spike_per_pixel() -> None:
    encoding = Encoding("hybrid", 4)
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert np.array_equal(encoding.frame(image, 1), image)
    later = np.stack([encoding.frame(image, t) for t in (2, 3, 4)])
    assert set(np.unique(later)) == {0, 255}
    assert ((later == 255).sum(axis=0) == 1).all()


@pytest.mark.parametrize("timesteps", [2, 3, 4, 5, 8, 16])
def test_spike_times_follow_the_paper(timesteps: int) -> None:
    times = spike_times(timesteps)
    exact = timesteps + (2 - timesteps) * np.arange(256) / 255
    assert times[255] == 2
    assert times[0] == timesteps
    assert (np.abs(times - exact) <= 0.5).all()
    assert (np.diff(times) <= 0).all()  # the brighter, the earlier


def test_direct_repeats_the_image() -> None:
    encoding = Encoding("direct", 3)
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert all(np.array_equal(encoding.frame(image, t), image) for t in (1, 2, 3))


def test_rows_may_be_at_different_timesteps() -> None:
    encoding = Encoding("hybrid", 4)
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    t = [3, 1, 4, 2]
    frames = encoding.frames(list(images), t)
    for row in range(4):
        assert np.array_equal(frames[row], encoding.frame(images[row], t[row]))


@pytest.mark.parametrize("t", [0, 5])
def test_timestep_outside_the_run_is_refused(t: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        Encoding("hybrid", 4).frame(np.zeros((2, 2, 1), np.uint8), t)


Images = list[NDArray[Any]]


@pytest.mark.parametrize(
    ("images", "t"),
    [
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)], [1, 1]),
        ([np.zeros((4, 4, 3), np.int64)], [1]),
        ([np.zeros((4, 4, 3), np.uint8)], [0]),
        ([np.zeros((4, 4, 3), np.uint8)], [4]),
    ],
    ids=["shapes differ", "no bytes", "before the first", "after the last"],
)
def test_frames_that_would_be_wrong_are_refused(images: Images, t: list[int]) -> None:
    with pytest.raises(ValueError, match=r"uint8|timestep"):
        Encoding("hybrid", 3).frames(images, t)
