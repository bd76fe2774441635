// The dashboard from its JSON: panels at their grid positions, over one time range.
import { type DataFrame, type GrafanaTheme2, ThemeContext, createTheme } from "@grafana/data";
import { GlobalStyles, PanelChrome } from "@grafana/ui";
import type { ReactNode } from "react";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";
import "uplot/dist/uPlot.min.css";
import { type PanelModel, Visualization } from "./panel";
import { type Range, ask } from "./prometheus";
import { type Values, type Variable, everything, options, substituted } from "./variables";

const [COLUMNS, ROW_PX, GAP_PX, TOP_PX] = [24, 30, 8, 56];
const WEIGHTS = [400, 500];

interface Dashboard {
  title: string;
  templating: { list: Variable[] };
  panels: PanelModel[];
}

interface Settings {
  dashboard: Dashboard;
  range: Range;
  mode: "dark" | "light";
  width: number;
  caption: string;
}

interface Placed {
  panel: PanelModel;
  title: string;
  answers: DataFrame[][];
}

async function placed(dashboard: Dashboard, range: Range): Promise<Placed[]> {
  const variables = dashboard.templating.list;
  const values = everything(variables, range);
  const found: Placed[] = [];
  for (const { panel, chosen } of await repeated(dashboard.panels, variables, values)) {
    const mine = { ...values, ...chosen };
    const targets = panel.targets ?? [];
    const asked = targets.map((target) => ask(target, substituted(target.expr, mine), range));
    const title = substituted(panel.title, mine);
    found.push({ panel, title, answers: await Promise.all(asked) });
  }
  return found;
}

// A repeated panel grows downwards and pushes what is below it.
async function repeated(panels: PanelModel[], variables: Variable[], values: Values) {
  const shown: Array<{ panel: PanelModel; chosen: Values }> = [];
  let pushed = 0;
  let line = { y: -1, grown: 0 };
  for (const panel of panels) {
    const { y, h } = panel.gridPos;
    if (y !== line.y) {
      pushed += line.grown;
      line = { y, grown: 0 };
    }
    const name = panel.repeat;
    const variable = variables.find((one) => one.name === name);
    const choices = variable ? await options(variable, values) : [""];
    choices.forEach((choice, k) => {
      const gridPos = { ...panel.gridPos, y: y + pushed + k * h };
      shown.push({ panel: { ...panel, gridPos }, chosen: name ? { [name]: choice } : {} });
    });
    line.grown = Math.max(line.grown, (choices.length - 1) * h);
  }
  return shown;
}

interface BoardProps {
  settings: Settings;
  panels: Placed[];
  theme: GrafanaTheme2;
}

function Board({ settings, panels, theme }: BoardProps) {
  const { width, range, dashboard, caption } = settings;
  const column = (width - GAP_PX) / COLUMNS;
  const bottom = Math.max(...panels.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h));
  const clock = (seconds: number) => new Date(seconds * 1000).toISOString().slice(11, 16);
  return (
    <div
      style={{
        position: "relative",
        width,
        height: TOP_PX + bottom * (ROW_PX + GAP_PX) + GAP_PX,
        background: theme.colors.background.canvas,
        color: theme.colors.text.primary,
        fontFamily: theme.typography.fontFamily,
      }}
    >
      <div style={{ padding: "16px 16px 0", display: "flex", gap: 24, alignItems: "baseline" }}>
        <span style={{ fontSize: 20, fontWeight: 500 }}>{dashboard.title}</span>
        {dashboard.templating.list
          .filter(({ allValue }) => allValue)
          .map(({ name, label }) => (
            <span key={name}>{`${label}: All`}</span>
          ))}
        <span>{`${clock(range.start)} to ${clock(range.end)} UTC`}</span>
        <span style={{ marginLeft: "auto", color: theme.colors.text.secondary }}>{caption}</span>
      </div>
      {panels.map(({ panel, title, answers }, key) => {
        const { x, y, w, h } = panel.gridPos;
        const [panelWidth, panelHeight] = [w * column - GAP_PX, h * (ROW_PX + GAP_PX) - GAP_PX];
        const position = { left: GAP_PX + x * column, top: TOP_PX + y * (ROW_PX + GAP_PX) };
        return (
          <div
            key={key}
            style={{ position: "absolute", ...position, width: panelWidth, height: panelHeight }}
          >
            {panel.type === "row" ? (
              <div style={{ padding: "6px 8px", fontSize: 16, fontWeight: 500 }}>
                {`⌄ ${title}`}
              </div>
            ) : (
              <PanelChrome
                title={title}
                description={panel.description}
                width={panelWidth}
                height={panelHeight}
              >
                {(innerWidth, innerHeight) => (
                  <Visualization
                    {...{ panel, range, theme }}
                    frames={answers.flat()}
                    width={innerWidth}
                    height={innerHeight}
                  />
                )}
              </PanelChrome>
            )}
          </div>
        );
      })}
    </div>
  );
}

// Called by browser.py; returns the titles of panels with a query that found nothing.
async function draw(settings: Settings): Promise<string[]> {
  const theme = createTheme({ colors: { mode: settings.mode } });
  const panels = await placed(settings.dashboard, settings.range);
  const root = createRoot(document.getElementById("board") as HTMLElement);
  const shown = (board?: ReactNode) => (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      {board}
    </ThemeContext.Provider>
  );
  // Axes measure their labels once: the fonts, which the styles name, must be there before.
  flushSync(() => root.render(shown()));
  await Promise.all(WEIGHTS.map((weight) => document.fonts.load(`${weight} 12px Inter`)));
  root.render(shown(<Board {...{ settings, panels, theme }} />));
  return panels
    .filter(({ answers }) => !answers.every((frames) => frames.some(hasData)))
    .map(({ title }) => title);
}

const hasData = (frame: DataFrame) =>
  frame.fields.slice(1).some((field) => field.values.some((value) => value !== null));

Object.assign(window, { draw });
