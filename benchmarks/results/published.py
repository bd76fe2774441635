"""What papers report, as far as it was read in them; each with what differs from ours."""

from __future__ import annotations

from typing import Any

FIGURES: list[dict[str, Any]] = [
    {
        "name": "DT-SNN, ResNet-19",
        "dataset": "CIFAR-10",
        "timesteps": 1.27,
        "edp_cut": 0.84,
        "source": "Li et al., DAC 2023",
        "differs": "direct encoding, multi-spike, 2.27 GMAC a step, 300 epochs on a GPU; "
        "thresholds and checkpoint chosen on the test set",
    },
    {
        "name": "DT-SNN, VGG-16",
        "dataset": "CIFAR-10",
        "timesteps": 1.46,
        "edp_cut": 0.80,
        "source": "Li et al., DAC 2023",
        "differs": "direct encoding, multi-spike, 313 MMAC a step, 300 epochs on a GPU; "
        "thresholds and checkpoint chosen on the test set; that the abstract's figure is this "
        "network's is remembered, not read",
    },
    {
        "name": "SEENN-I, ResNet-19",
        "dataset": "CIFAR-10",
        "timesteps": 1.20,
        "accuracy": 0.9638,
        "source": "Li et al., NeurIPS 2023",
        "differs": "as DT-SNN's",
    },
    {
        "name": "SEENN-I, ResNet-19",
        "dataset": "CIFAR-10",
        "timesteps": 1.09,
        "accuracy": 0.9607,
        "source": "Li et al., NeurIPS 2023",
        "differs": "as DT-SNN's",
    },
    {
        "name": "SEENN-II, ResNet-19",
        "dataset": "CIFAR-10",
        "timesteps": 1.08,
        "accuracy": 0.961,
        "source": "Li et al., NeurIPS 2023",
        "differs": "a policy network chooses T",
    },
    {
        "name": "Datta et al., VGG-16",
        "dataset": "CIFAR-100",
        "timesteps": 5,
        "accuracy": 0.6646,
        "ratio": 125,
        "source": "Datta et al., IJCNN 2021",
        "differs": "hybrid encoding, one spike a neuron, no early exit, no batch-norm, GPU",
    },
]
