// A panel's field configuration, laid over its data.
import {
  type DataFrame,
  type Field,
  type FieldConfig,
  FieldType,
  type GrafanaTheme2,
  type NumericRange,
  fieldMatchers,
  getDisplayProcessor,
} from "@grafana/data";

export interface FieldConfigSource {
  defaults: FieldConfig;
  overrides: Array<{
    matcher: { id: string; options?: unknown };
    properties: Array<{ id: string; value?: unknown }>;
  }>;
}

export function dressed(
  frames: DataFrame[],
  source: FieldConfigSource,
  theme: GrafanaTheme2,
): DataFrame[] {
  let seriesIndex = 0;
  const [least, most] = extent(frames);
  return frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((bare) => {
      const defaults = bare.type === FieldType.time ? {} : source.defaults;
      const config = overridden({ ...defaults, ...bare.config }, bare, frame, frames, source);
      const field: Field = { ...bare, config };
      if (field.type === FieldType.number)
        field.state = { seriesIndex: seriesIndex++, range: range(config, least, most) };
      field.display = getDisplayProcessor({ field, theme });
      return field;
    }),
  }));
}

// Over all series together, so that bars and sparklines compare.
function extent(frames: DataFrame[]): [number, number] {
  const numbers = frames
    .flatMap((frame) => frame.fields)
    .filter((field) => field.type === FieldType.number)
    .flatMap((field) => field.values.filter((value) => value !== null));
  return [Math.min(...numbers), Math.max(...numbers)];
}

function range({ min, max }: FieldConfig, least: number, most: number): NumericRange {
  const [from, to] = [min ?? least, max ?? most];
  return { min: from, max: to, delta: to - from };
}

function overridden(
  config: FieldConfig,
  field: Field,
  frame: DataFrame,
  frames: DataFrame[],
  source: FieldConfigSource,
): FieldConfig {
  for (const { matcher, properties } of source.overrides) {
    const matches = fieldMatchers.get(matcher.id).get(matcher.options);
    if (!matches(field, frame, frames)) continue;
    for (const { id, value } of properties) {
      const [scope, name] = id.split(".");
      config = name
        ? { ...config, custom: { ...config.custom, [name]: value } }
        : { ...config, [scope]: value };
    }
  }
  return config;
}
