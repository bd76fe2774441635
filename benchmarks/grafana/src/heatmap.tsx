// Heatmaps are no part of the UI library: cells drawn by hand into Grafana's plot and axes.
import { type DataFrame, type GrafanaTheme2, getValueFormat } from "@grafana/data";
import { AxisPlacement, ScaleDirection, ScaleOrientation } from "@grafana/schema";
import { UPlotChart, UPlotConfigBuilder } from "@grafana/ui";
import * as schemes from "d3-scale-chromatic";
import type uPlot from "uplot";
import type { Range } from "./prometheus";

const CHARACTER_PX = 8;

interface Props {
  frame: DataFrame;
  options: {
    cellGap: number;
    color: { scheme: string; exponent: number; reverse: boolean };
    filterValues: { le: number };
    yAxis: { unit: string; decimals?: number };
  };
  range: Range;
  theme: GrafanaTheme2;
  width: number;
  height: number;
}

export function Heatmap({ frame, options, range, theme, width, height }: Props) {
  const [time, ...buckets] = frame.fields;
  const counts = buckets.map((bucket) => bucket.values as Array<number | null>);
  const builder = new UPlotConfigBuilder("utc");
  builder.setPadding([null, 24, null, null]);
  builder.addScale({
    scaleKey: "x",
    isTime: true,
    orientation: ScaleOrientation.Horizontal,
    direction: ScaleDirection.Right,
    range: () => [range.start * 1000, range.end * 1000],
  });
  builder.addAxis({ scaleKey: "x", isTime: true, placement: AxisPlacement.Bottom, theme });
  builder.addScale({
    scaleKey: "y",
    orientation: ScaleOrientation.Vertical,
    direction: ScaleDirection.Up,
    range: () => [0, counts.length],
  });
  const names = buckets.map((bucket) => named(bucket.name, options.yAxis));
  builder.addAxis({
    scaleKey: "y",
    placement: AxisPlacement.Left,
    theme,
    splits: () => names.map((_, k) => k + 1).filter((k) => k % every(names, height) === 0),
    values: (_: uPlot, splits: number[]) => splits.map((k) => names[k - 1]),
    size: 16 + CHARACTER_PX * Math.max(...names.map((name) => name.length)),
  });
  builder.addSeries({ scaleKey: "y", theme, show: true, pathBuilder: () => null, pxAlign: false });
  const paint = painter(counts, options, theme);
  builder.addHook("draw", (plot: uPlot) => {
    const cell = range.step * 1000;
    plot.ctx.save();
    counts.forEach((values, row) => {
      const top = plot.valToPos(row + 1, "y", true);
      const bottom = plot.valToPos(row, "y", true);
      (time.values as number[]).forEach((moment, k) => {
        const colour = paint(values[k] ?? 0);
        if (!colour) return;
        const left = plot.valToPos(Math.max(moment - cell, range.start * 1000), "x", true);
        const right = plot.valToPos(moment, "x", true);
        plot.ctx.fillStyle = colour;
        const [across, down] = [right - left - options.cellGap, bottom - top - options.cellGap];
        plot.ctx.fillRect(left, top, across, down);
      });
    });
    plot.ctx.restore();
  });
  const data = [time.values as number[], (time.values as number[]).map(() => 0)];
  return (
    <UPlotChart data={data as uPlot.AlignedData} config={builder} width={width} height={height} />
  );
}

function every(names: string[], height: number): number {
  return Math.ceil((names.length * 18) / height);
}

function named(boundary: string, axis: { unit: string; decimals?: number }): string {
  if (boundary === "+Inf") return boundary;
  const { text, suffix } = getValueFormat(axis.unit)(Number(boundary), axis.decimals);
  return text + (suffix ?? "");
}

// On an exponential scale between the least and the most, dark where there is little.
function painter(
  counts: Array<Array<number | null>>,
  options: Props["options"],
  theme: GrafanaTheme2,
): (count: number) => string | undefined {
  const most = Math.max(...counts.flat().map((count) => count ?? 0));
  const interpolated = (schemes as unknown as Record<string, (share: number) => string>)[
    `interpolate${options.color.scheme}`
  ];
  return (count) => {
    if (count <= options.filterValues.le) return undefined;
    const share = (count / most) ** options.color.exponent;
    return interpolated(theme.isDark !== options.color.reverse ? 1 - share : share);
  };
}

