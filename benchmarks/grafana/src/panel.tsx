// One panel of the dashboard, as the UI library draws what its JSON describes.
import {
  type DataFrame,
  type DisplayValueAlignmentFactors,
  type FieldDisplay,
  FieldType,
  type GrafanaTheme2,
  dateTime,
  getDisplayProcessor,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
} from "@grafana/data";
import { BarGauge, BigValue, Table, TimeSeries, VizRepeater } from "@grafana/ui";
import { type FieldConfigSource, dressed } from "./dressed";
import { Heatmap } from "./heatmap";
import type { Range, Target } from "./prometheus";
import { organised } from "./table";

export interface PanelModel {
  id: number;
  type: string;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  repeat?: string;
  fieldConfig: FieldConfigSource;
  // Of its kind: what may stand there is for schema.ts to judge.
  options: any;
  transformations?: Array<{ id: string; options: unknown }>;
  targets: Target[];
}

export interface Drawn {
  panel: PanelModel;
  frames: DataFrame[];
  range: Range;
  theme: GrafanaTheme2;
  width: number;
  height: number;
}

export function Visualization(drawn: Drawn) {
  const { panel, range, theme, width, height } = drawn;
  const frames = dressed(drawn.frames, panel.fieldConfig, theme);
  if (frames.length === 0) return <div style={{ padding: 8, opacity: 0.6 }}>No data</div>;
  switch (panel.type) {
    case "timeseries":
      return (
        <TimeSeries
          frames={frames}
          width={width}
          height={height}
          structureRev={1}
          timeZone="utc"
          timeRange={timeRange(range)}
          legend={panel.options.legend}
        />
      );
    case "stat":
      return <Stat {...drawn} frames={frames} />;
    case "bargauge":
      return <Bars {...drawn} frames={frames} />;
    case "heatmap":
      return (
        <Heatmap {...{ range, theme, width, height }} frame={frames[0]} options={panel.options} />
      );
    case "table":
      return (
        <Table
          data={organised(frames[0], panel.transformations)}
          width={width}
          height={height}
        />
      );
    default:
      throw new Error(`no way to draw a panel of kind ${panel.type}`);
  }
}

export function timeRange(range: Range) {
  const [from, to] = [dateTime(range.start * 1000), dateTime(range.end * 1000)];
  return { from, to, raw: { from, to } };
}

function displays({ panel, theme }: Drawn, frames: DataFrame[], sparkline: boolean) {
  return getFieldDisplayValues({
    data: frames,
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    theme,
    sparkline,
    timeZone: "utc",
  });
}

/** How values are laid out side by side. */
function repeated({ panel, width, height }: Drawn, source: DataFrame[], values: FieldDisplay[]) {
  return {
    source,
    width,
    height,
    renderCounter: 0,
    orientation: panel.options.orientation,
    getValues: () => values,
    getAlignmentFactors: getDisplayValueAlignmentFactors,
  };
}

function Stat(drawn: Drawn) {
  const { panel, frames, theme } = drawn;
  const { options } = panel;
  const values = displays(drawn, frames, options.graphMode !== "none");
  const named = options.textMode === "auto" && values.length > 1;
  return (
    <VizRepeater<FieldDisplay, DisplayValueAlignmentFactors>
      {...repeated(drawn, frames, values)}
      itemSpacing={3}
      minVizHeight={0}
      minVizWidth={0}
      renderValue={({ value, width, height, count, alignmentFactors }) => (
        <BigValue
          value={value.display}
          count={count}
          sparkline={value.sparkline}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          textMode={named ? "value_and_name" : options.textMode}
          alignmentFactors={alignmentFactors}
          text={options.text}
          width={width}
          height={height}
          theme={theme}
        />
      )}
    />
  );
}

function Bars(drawn: Drawn) {
  const { panel, frames, theme } = drawn;
  const { options } = panel;
  const values = displays(drawn, frames, false);
  return (
    <VizRepeater<FieldDisplay, DisplayValueAlignmentFactors>
      {...repeated(drawn, frames, values)}
      itemSpacing={10}
      minVizHeight={options.minVizHeight}
      minVizWidth={options.minVizWidth}
      renderValue={({ value, width, height, alignmentFactors }) => (
        <BarGauge
          value={value.display}
          field={value.field}
          display={getDisplayProcessor({
            field: { name: "", type: FieldType.number, values: [], config: value.field },
            theme,
          })}
          orientation={options.orientation}
          displayMode={options.displayMode}
          showUnfilled={options.showUnfilled}
          alignmentFactors={alignmentFactors}
          width={width}
          height={height}
          theme={theme}
        />
      )}
    />
  );
}
