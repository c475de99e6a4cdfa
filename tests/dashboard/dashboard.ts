// What the dashboard's JSON must be: Grafana's own types, closed wherever Grafana leaves them open to any key, so that a
// misspelt one is refused.

import type { AnnotationQuery, Dashboard as GrafanaDashboard, DataQuery, Panel, RowPanel } from '@grafana/schema';
import type { FieldConfig as OpenFieldConfig } from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** A type as JSON writes it: a member of an enum is its text. */
type Json<T> = unknown extends T ? T : T extends string ? `${T}` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;

/** A query of the Prometheus data source: what of `PromQuery` in `@grafana/prometheus` 13.1 is saved. */
interface Query extends DataQuery {
  editorMode?: 'builder' | 'code';
  exemplar?: boolean;
  expr: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  interval?: string;
  legendFormat?: string;
  range?: boolean;
}

/** An annotation query of the Prometheus data source, which reads these from it: `annotations.ts` of `@grafana/prometheus`. */
interface Annotation extends Omit<AnnotationQuery, 'target'> {
  target: Query;
  tagKeys?: string;
  textFormat?: string;
  titleFormat?: string;
}

type FieldConfig = Omit<OpenFieldConfig, 'custom'>;

/** A property that an override sets, with the type it has where it is set for all. */
type Property<Custom> =
  | { [K in keyof FieldConfig & string]-?: { id: K; value: NonNullable<FieldConfig[K]> } }[keyof FieldConfig & string]
  | { [K in keyof Custom & string]-?: { id: `custom.${K}`; value: NonNullable<Custom[K]> } }[keyof Custom & string];

interface Override<Custom> {
  matcher: { id: 'byName' | 'byRegexp' | 'byFrameRefID'; options: string };
  properties: Property<Custom>[];
}

interface PanelOf<Type, Options, Custom> extends Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> {
  type: Type;
  fieldConfig: { defaults: FieldConfig & { custom: Custom }; overrides: Override<Custom>[] };
  options: Options;
  targets: Query[];
}

type ExportPanel =
  | Omit<RowPanel, 'panels'> & { panels: [] }
  | PanelOf<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | PanelOf<'heatmap', heatmap.Options, heatmap.FieldConfig>;

export type Dashboard = Json<
  Omit<GrafanaDashboard, 'annotations' | 'panels'> & { annotations: { list: Annotation[] }; panels: ExportPanel[] }
>;
