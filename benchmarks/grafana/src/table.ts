// The one transformation that the dashboard uses.
import type { DataFrame } from "@grafana/data";

interface Organize {
  excludeByName: Record<string, boolean>;
  indexByName: Record<string, number>;
  renameByName: Record<string, string>;
}

export function organised(
  frame: DataFrame,
  transformations: Array<{ id: string; options: unknown }> = [],
): DataFrame {
  return transformations.reduce((before, { id, options }) => {
    if (id !== "organize") throw new Error(`no way to transform by ${id}`);
    const { excludeByName, indexByName, renameByName } = options as Organize;
    const fields = before.fields
      .filter((field) => !excludeByName[field.name])
      .sort((a, b) => (indexByName[a.name] ?? 0) - (indexByName[b.name] ?? 0))
      .map((field) => ({
        ...field,
        config: { ...field.config, displayName: renameByName[field.name] ?? field.name },
      }));
    return { ...before, fields };
  }, frame);
}
