// What a dashboard's JSON may say: Grafana's own types, without their holes.
import type {
  Dashboard,
  DataQuery,
  FieldConfig,
  Panel,
  RowPanel,
  VariableModel,
} from "@grafana/schema";
import type * as bargauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// JSON spells an enum's members as their values.
export type Spelled<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer Value extends number}`
      ? Value
      : never
    : T extends Array<infer Item>
      ? Array<Spelled<Item>>
      : T extends object
        ? { [Key in keyof T]: Spelled<T[Key]> }
        : T;

// An override's value has the type of the member that it overrides.
type Overriding<Members, Prefix extends string> = {
  [Key in keyof Members & string]-?: { id: `${Prefix}${Key}`; value: Members[Key] };
}[keyof Members & string];

type PlainField = Omit<Spelled<FieldConfig>, "custom">;

interface None {
  [key: string]: never;
}

interface Kinds {
  bargauge: { options: bargauge.Options; custom: None };
  heatmap: { options: heatmap.Options; custom: heatmap.FieldConfig };
  stat: { options: stat.Options; custom: None };
  table: { options: table.Options; custom: table.FieldConfig };
  timeseries: { options: timeseries.Options; custom: timeseries.FieldConfig };
}

// The Prometheus data source's part; its own package brings a whole Grafana along.
interface PrometheusQuery extends DataQuery {
  datasource: Source;
  expr: string;
  format: "time_series" | "heatmap" | "table";
  instant: boolean;
  range: boolean;
  legendFormat: string;
}

interface Source {
  type: "prometheus";
  uid: string;
}

// `Panel` leaves options, custom fields and targets open: here each kind has its own.
export interface Chart<Kind extends keyof Kinds>
  extends Omit<Spelled<Panel>, "type" | "datasource" | "options" | "fieldConfig" | "targets"> {
  type: Kind;
  datasource: Source;
  options: Spelled<Kinds[Kind]["options"]>;
  fieldConfig: {
    // Without a colour Grafana turns every number above 80 red.
    defaults: PlainField & Required<Pick<PlainField, "color" | "unit">> & {
        custom?: Spelled<Kinds[Kind]["custom"]>;
      };
    overrides: Array<{
      matcher: { id: "byRegexp"; options: `/${string}/` };
      properties: Array<
        Overriding<PlainField, ""> | Overriding<Spelled<Kinds[Kind]["custom"]>, "custom.">
      >;
    }>;
  };
  targets: PrometheusQuery[];
}

export type Row = Spelled<RowPanel>;

interface Variable extends Omit<Spelled<VariableModel>, "query" | "datasource"> {
  query: string | { query: string; refId: string };
  datasource?: Source;
}

export interface Board extends Omit<Spelled<Dashboard>, "panels" | "templating"> {
  panels: Array<Row | { [Kind in keyof Kinds]: Chart<Kind> }[keyof Kinds]>;
  templating: { list: Variable[] };
}
