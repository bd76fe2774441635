"""What the dashboard shows: rows of panels with their PromQL, as plain data."""

from deploy.grafana.panels.early_exit import EARLY_EXIT
from deploy.grafana.panels.energy import ENERGY
from deploy.grafana.panels.engine import ENGINE
from deploy.grafana.panels.latency import LATENCY
from deploy.grafana.panels.panel import Panel, Row
from deploy.grafana.panels.process import PROCESS
from deploy.grafana.panels.traffic import TRAFFIC

__all__ = ["ROWS", "Panel", "Row"]

ROWS = (EARLY_EXIT, ENERGY, TRAFFIC, LATENCY, ENGINE, PROCESS)
