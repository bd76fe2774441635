// Prometheus' answers as the data frames that Grafana's data source would make of them.
import { type DataFrame, type Field, FieldType } from "@grafana/data";

export interface Range {
  start: number; // Unix seconds
  end: number;
  step: number;
}

export interface Target {
  expr: string;
  format: string;
  legendFormat: string;
  instant: boolean;
}

interface Series {
  metric: Record<string, string>;
  values?: Array<[number, string]>;
  value?: [number, string];
}

// browser.py forwards it to Prometheus.
export async function ask(target: Target, expr: string, range: Range): Promise<DataFrame[]> {
  const series = target.instant
    ? await answer("query", { query: expr, time: range.end })
    : await answer("query_range", { query: expr, ...range });
  if (series.length === 0) return [];
  switch (target.format) {
    case "table":
      return [table(series)];
    case "heatmap":
      return [heatmap(series, target.legendFormat)];
    default:
      return series.map((one) => timeSeries(one, target.legendFormat));
  }
}

async function answer(path: string, parameters: Record<string, unknown>): Promise<Series[]> {
  const query = new URLSearchParams(
    Object.entries(parameters).map(([name, value]) => [name, String(value)]),
  );
  const response = await fetch(`/api/v1/${path}?${query}`);
  const document = await response.json();
  if (document.status !== "success") throw new Error(`${parameters.query}: ${document.error}`);
  return document.data.result;
}

function number(text: string): number | null {
  const value = Number(text);
  return Number.isFinite(value) ? value : null;
}

function field(name: string, type: FieldType, values: unknown[], rest: Partial<Field> = {}): Field {
  return { name, type, values, config: {}, ...rest };
}

function frame(fields: Field[]): DataFrame {
  return { fields, length: fields[0].values.length };
}

function legend(format: string, labels: Record<string, string>): string {
  return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? "");
}

function timeSeries(series: Series, format: string): DataFrame {
  const samples = series.values ?? [];
  const name = legend(format, series.metric);
  const times = samples.map(([time]) => time * 1000);
  const values = samples.map(([, value]) => number(value));
  return frame([
    field("Time", FieldType.time, times),
    field("Value", FieldType.number, values, {
      labels: series.metric,
      config: { displayNameFromDS: name },
    }),
  ]);
}

const boundary = (series: Series) => Number(series.metric.le.replace("+Inf", "Infinity"));

// Buckets count everything below them: each field gets what lies above the one before.
function heatmap(series: Series[], format: string): DataFrame {
  const sorted = [...series].sort((a, b) => boundary(a) - boundary(b));
  const at = sorted.map(
    (one) => new Map((one.values ?? []).map(([time, value]) => [time, number(value)])),
  );
  const times = [...new Set(at.flatMap((one) => [...one.keys()]))].sort((a, b) => a - b);
  const buckets = sorted.map((one, k) => {
    const values = times.map((time) => {
      const [all, below] = [at[k].get(time), k > 0 ? at[k - 1].get(time) : 0];
      return all == null || below == null ? null : Math.max(0, all - below);
    });
    const config = { displayNameFromDS: legend(format, one.metric) };
    return field(one.metric.le, FieldType.number, values, { labels: one.metric, config });
  });
  const shown = times.map((time) => time * 1000);
  return frame([field("Time", FieldType.time, shown), ...buckets]);
}

function table(series: Series[]): DataFrame {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  return frame([
    field("Time", FieldType.time, series.map((one) => Number(one.value?.[0]) * 1000)),
    ...labels.map((name) =>
      field(name, FieldType.string, series.map((one) => one.metric[name] ?? "")),
    ),
    field("Value", FieldType.number, series.map((one) => number(one.value?.[1] ?? "NaN"))),
  ]);
}
