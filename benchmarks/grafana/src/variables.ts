// The dashboard's variables, all of them set to "All".
import type { Range } from "./prometheus";

const SCRAPE_S = 5; // timeInterval of the provisioned data source

export interface Variable {
  name: string;
  label: string;
  query: string | { query: string };
  allValue?: string;
}

export type Values = Record<string, string>;

export function everything(variables: Variable[], range: Range): Values {
  const values: Values = {
    // As the data source derives it from the step and the scrape interval.
    __rate_interval: `${Math.max(range.step + SCRAPE_S, 4 * SCRAPE_S)}s`,
  };
  for (const { name, allValue } of variables) if (allValue) values[name] = allValue;
  return values;
}

export function substituted(text: string, values: Values): string {
  return text.replace(/\$\{?(\w+)\}?/g, (whole, name) => values[name] ?? whole);
}

// What a repeated panel is repeated for: the values that label_values(series, label) finds.
export async function options(variable: Variable, values: Values): Promise<string[]> {
  const query = typeof variable.query === "string" ? variable.query : variable.query.query;
  const [, series, label] = /^label_values\((.*), (\w+)\)$/s.exec(query) ?? [];
  const match = encodeURIComponent(substituted(series, values));
  const response = await fetch(`/api/v1/label/${label}/values?match[]=${match}`);
  return (await response.json()).data;
}
