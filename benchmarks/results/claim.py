"""The 125x of single-spike hybrid encoding, taken apart: price, sparsity, and what caps both.

    E_ANN / E_SNN = 1 / (n s_1 + (1 - s_1) * zeta * E_AC / E_MAC)

s_1 is the first layer's share of the ANN's multiply-accumulates, paid in full for each of the n
analog frames (one, in hybrid encoding); zeta are accumulates per remaining multiply-accumulate,
over all timesteps. The paper's prices:
3.2 pJ a MAC and 0.1 pJ an accumulate (45 nm, int32), memory and peripherals left out.
(G. Datta, S. Kundu, P. Beerel, IJCNN 2021.)
"""

from __future__ import annotations

from dataclasses import dataclass

from spikeserve.models.energy.baselines import ARITHMETICS, Operations
from spikeserve.models.plans import planned

PUBLISHED_RATIO = 125.0
INT32 = next(arithmetic for arithmetic in ARITHMETICS if arithmetic.name == "int32")


@dataclass(frozen=True)
class Claim:
    """Where a ratio of compute energies comes from."""

    first_share: float
    """s_1."""
    frames: float
    """Analog frames n."""
    zeta: float
    """Accumulates per multiply-accumulate of the other layers."""

    @property
    def price(self) -> float:
        """What the same number of operations would save."""
        return INT32.mac_pj / INT32.ac_pj

    @property
    def cap(self) -> float:
        """What no sparsity can exceed: the first layer's multiply-accumulates remain."""
        return 1 / (self.frames * self.first_share)

    @property
    def ratio(self) -> float:
        analog = self.frames * self.first_share
        return 1 / (analog + (1 - self.first_share) * self.zeta / self.price)


def claimed(operations: Operations, first_macs: int) -> Claim:
    """The claim's terms for a network whose first layer has ``first_macs`` for the ANN."""
    total = operations.ann_macs
    return Claim(
        first_macs / total, operations.macs / first_macs, operations.acs / (total - first_macs)
    )


def needed_zeta(first_share: float, ratio: float = PUBLISHED_RATIO) -> float:
    """Accumulates per multiply-accumulate with which a network reaches ``ratio``."""
    return (1 / ratio - first_share) / (1 - first_share) * INT32.mac_pj / INT32.ac_pj


def first_share(plan: tuple[str, ...]) -> float:
    """s_1 of a plan's network on CIFAR-100."""
    network = planned(plan, (32, 32, 3), 100)
    first = network.synaptic[0]
    return first.weight_shape[0] * first.weight_shape[1] * first.positions / network.macs
