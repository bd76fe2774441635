"""What the dashboard shows: rows of panels with their PromQL, as plain data."""

from spikeserve.deploy.grafana.panels.early_exit import EARLY_EXIT
from spikeserve.deploy.grafana.panels.energy import ENERGY
from spikeserve.deploy.grafana.panels.engine import ENGINE
from spikeserve.deploy.grafana.panels.glance import GLANCE
from spikeserve.deploy.grafana.panels.latency import LATENCY
from spikeserve.deploy.grafana.panels.panel import Panel, Row
from spikeserve.deploy.grafana.panels.process import PROCESS
from spikeserve.deploy.grafana.panels.traffic import TRAFFIC

__all__ = ["ROWS", "Panel", "Row"]

ROWS = (GLANCE, EARLY_EXIT, ENERGY, TRAFFIC, LATENCY, ENGINE, PROCESS)
