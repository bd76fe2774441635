"""Teachers learn, and a killed training ends as one that nobody disturbed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spikeserve.training.errors import TrainingError
from spikeserve.training.teacher.fit import TeacherFit
from spikeserve.training.teacher.network import KERNEL, Teacher, normalised
from spikeserve.training.teacher.schedule import Schedule, augmented, learning_rate_factor

SCHEDULE = Schedule(epochs=6, batch=16)


def fit(cifar: Path, run: Path) -> TeacherFit:
    return TeacherFit("cifar10", cifar, run, SCHEDULE, held_out=64, widths=(24, 24, 24))


def kill() -> float:
    raise KeyboardInterrupt


def test_a_killed_training_ends_as_an_undisturbed_one(
    cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = torch.load(fit(cifar, tmp_path / "whole").fit())
    killed = fit(cifar, tmp_path / "killed")
    epochs = iter([killed._train_epoch, killed._train_epoch, kill])

    def next_epoch() -> float:
        return next(epochs)()

    monkeypatch.setattr(killed, "_train_epoch", next_epoch)
    with pytest.raises(KeyboardInterrupt):
        killed.fit()
    resumed = fit(cifar, tmp_path / "killed")
    weights = torch.load(resumed.fit())
    assert all(torch.equal(weights[name], value) for name, value in whole.items())
    assert resumed.accuracy() > 0.2  # a tenth by chance; brightness gives the class away


def test_a_folder_of_another_training_is_refused(cifar: Path, tmp_path: Path) -> None:
    fit(cifar, tmp_path).fit()
    longer = replace(SCHEDULE, epochs=SCHEDULE.epochs + 1)
    with pytest.raises(TrainingError, match="another training"):
        TeacherFit("cifar10", cifar, tmp_path, longer, held_out=64, widths=(24, 24, 24)).fit()
    with pytest.raises(TrainingError, match="one at least"):
        TeacherFit("cifar10", cifar, tmp_path, replace(SCHEDULE, epochs=0))


def test_whitened_patches_are_uncorrelated() -> None:
    images = torch.randint(0, 256, (64, 8, 8, 3), dtype=torch.uint8)
    images[..., 1] = images[..., 0] // 2 + images[..., 1] // 2
    teacher = Teacher(10, (24, 24, 24))
    teacher.whiten_by(images)
    half = len(teacher.whiten.weight) // 2
    with torch.no_grad():
        white = teacher.whiten(normalised(images))[:, :half].transpose(0, 1).flatten(1)
    second_moments = white @ white.T / white.shape[1]
    assert torch.allclose(second_moments, torch.eye(3 * KERNEL**2), atol=0.02)


def test_an_image_is_mirrored_where_asked_and_shifted_by_little() -> None:
    images = torch.arange(6, dtype=torch.uint8).expand(2, 6, 6).unsqueeze(-1)  # [2, 6, 6, 1]
    seen = augmented(images, torch.tensor([False, True]), 0, torch.Generator())
    assert torch.equal(seen, torch.stack([images[0], images[1].flip(1)]))
    shifted = augmented(images, torch.tensor([False, False]), 2, torch.Generator().manual_seed(1))
    assert int((shifted[:, :, 2, 0].int() - 2).abs().max()) <= 2


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate_factor(k / 100) for k in range(100)]
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert 0.15 < rates[0] < 0.25
    assert rates[-1] < 0.1
