"""The dashboard as TypeScript that only compiles if Grafana's schema package agrees with it."""

from __future__ import annotations

import json

from spikeserve.deploy.grafana.kinds import Json


def typed(dashboard: Json) -> str:
    """Every panel as a literal of its kind's type, so that members nobody knows are errors too."""
    named = [(f"panel{panel['id']}", panel) for panel in dashboard["panels"]]
    panels = [f"const {name}: {_type(panel)} = {_literal(panel)};" for name, panel in named]
    envelope = _literal({key: value for key, value in dashboard.items() if key != "panels"})
    names = ", ".join(name for name, _ in named)
    return "\n".join(
        (
            'import type { Board, Chart, Row } from "../src/schema";',
            *panels,
            f"export const board: Board = {{\n panels: [{names}],{envelope.removeprefix('{')};",
            "",
        )
    )


def _type(panel: Json) -> str:
    return "Row" if panel["type"] == "row" else f'Chart<"{panel["type"]}">'


def _literal(value: Json) -> str:
    return json.dumps(value, indent=1)
