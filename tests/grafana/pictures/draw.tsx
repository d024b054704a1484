// Draws a dashboard from its committed JSON and the answers of a Prometheus, with the components that Grafana publishes.
// The grid, the heads of rows and the merging of answers into frames are ours: in Grafana they are the application's.

import React from 'react';
import { createRoot } from 'react-dom/client';
import { firstValueFrom } from 'rxjs';
import {
  applyFieldOverrides, cacheFieldDisplayNames, createDataFrame, createTheme, DataFrame, dateTime, FieldConfigOptionsRegistry, FieldType,
  getFieldDisplayValues, identityOverrideProcessor, standardTransformers,
  standardTransformersRegistry, ThemeContext, transformDataFrame,
} from '@grafana/data';
import {
  BigValue, PanelChrome, PanelContextProvider, TimeSeries, VizRepeater,
} from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

const { board, answers, since, until, values, note } = (window as any).DRAWN;
const NOBODY = { unsubscribe() {} };
const STREAM: any = { pipe: () => STREAM, subscribe: () => NOBODY };
const BUS: any = { getStream: () => STREAM, newScopedBus: () => BUS, publish() {}, removeAllListeners() {}, subscribe: () => NOBODY };
const theme = createTheme({ colors: { mode: 'light' } });
const CELL = 58, ROW = 30, GAP = 8;

standardTransformersRegistry.setInit(() =>
  [...new Map(Object.values(standardTransformers).map((each: any) => [each.id, each])).values()]
    .map((each) => ({ ...each, transformation: async () => each, editor: () => null })) as any);

const FIELDS = ['unit', 'decimals', 'noValue', 'thresholds', 'mappings', 'links', 'color', 'displayName', 'min', 'max'];
const CUSTOM = ['width', 'cellOptions', 'lineStyle', 'fillOpacity', 'align', 'inspect', 'filterable', 'lineWidth',
  'drawStyle', 'showPoints', 'spanNulls', 'minWidth', 'scaleDistribution'];
const item = (id: string, custom: boolean) => ({
  id: custom ? `custom.${id}` : id, path: id, name: id, isCustom: custom, editor: () => null, override: () => null,
  process: identityOverrideProcessor, shouldApply: () => true, settings: {},
});
const registry = new FieldConfigOptionsRegistry(() =>
  [...FIELDS.map((id) => item(id, false)), ...CUSTOM.map((id) => item(id, true))] as any);

const replaced = (text: string) => text.replace(/\$\{?(\w+)\}?/g, (whole, name) => values[name] ?? whole);

function named(target: any, metric: Record<string, string>): string {
  if (target.legendFormat && target.legendFormat !== '__auto') {
    return target.legendFormat.replace(/{{\s*(\w+)\s*}}/g, (_: string, label: string) => metric[label] ?? '');
  }
  const labels = Object.entries(metric).filter(([key]) => key !== '__name__');
  return labels.length ? labels.map(([key, text]) => `${key}="${text}"`).join(', ') : target.expr;
}

function overTime(target: any, found: any[]): DataFrame[] {
  return found.map((series) => createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.values.map(([at]: [number]) => at * 1000) },
      {
        name: 'Value', type: FieldType.number, labels: series.metric, config: { displayNameFromDS: named(target, series.metric) },
        values: series.values.map(([, text]: [number, string]) => Number(text)),
      },
    ],
  }));
}

function now(target: any, found: any[]): DataFrame[] {
  return found.map((series) => createDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: [series.value[0] * 1000] },
      {
        name: 'Value', type: FieldType.number, labels: series.metric, config: { displayNameFromDS: named(target, series.metric) },
        values: [Number(series.value[1])],
      },
    ],
  }));
}

function tabled(target: any, found: any[], several: boolean): DataFrame {
  const labels = [...new Set(found.flatMap((series) => Object.keys(series.metric)))].filter((name) => name !== '__name__');
  return createDataFrame({
    refId: target.refId,
    fields: [
      // One instant for all: the questions of a table are asked together.
      { name: 'Time', type: FieldType.time, values: found.map(() => until) },
      ...labels.map((name) => ({ name, type: FieldType.string, values: found.map((series) => series.metric[name]) })),
      {
        name: several ? `Value #${target.refId}` : 'Value', type: FieldType.number,
        values: found.map((series) => Number(series.value[1])),
      },
    ],
  });
}

async function framed(panel: any): Promise<DataFrame[]> {
  const found = (target: any) => answers[`${board.uid.replace('tableau-', '')}/${panel.title}/${target.refId}`] ?? [];
  let frames: DataFrame[];
  if (panel.type === 'table') {
    frames = panel.targets.map((target: any) => tabled(target, found(target), panel.targets.length > 1));
    frames = await firstValueFrom(transformDataFrame(panel.transformations, frames.filter((frame) => frame.length)));
  } else {
    frames = panel.targets.flatMap((target: any) => (target.instant ? now : overTime)(target, found(target)));
  }
  const drawn = applyFieldOverrides({
    data: frames, fieldConfig: panel.fieldConfig, replaceVariables: replaced, theme, timeZone: 'utc',
    fieldConfigRegistry: registry,
  });
  cacheFieldDisplayNames(drawn);
  return drawn;
}

function Figure({ panel, frames, width, height }: any) {
  const shown = getFieldDisplayValues({
    fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables: replaced, theme,
    data: frames, sparkline: panel.options.graphMode !== 'none', timeZone: 'utc',
  });
  return (
    <VizRepeater
      getValues={() => shown} source={frames} width={width} height={height} orientation={'auto' as any}
      renderCounter={0} autoGrid itemSpacing={3}
      renderValue={({ value, width, height, count }: any) => (
        <BigValue
          value={value.display} count={count} sparkline={value.sparkline} colorMode={panel.options.colorMode}
          graphMode={panel.options.graphMode} justifyMode={panel.options.justifyMode}
          textMode={panel.options.textMode} theme={theme} width={width} height={height} wideLayout
        />
      )}
    />
  );
}

function Course({ panel, frames, width, height }: any) {
  return (
    <TimeSeries
      frames={frames} structureRev={1} width={width} height={height} timeZone="utc" legend={panel.options.legend}
      options={panel.options}
      timeRange={{ from: dateTime(since), to: dateTime(until), raw: { from: 'now', to: 'now' } } as any}
    >{() => <></>}</TimeSeries>
  );
}

function Table({ panel, frames, width, height }: any) {
  return (
    <TableNG
      data={frames[0]} width={width} height={height} initialSortBy={panel.options.sortBy} fieldConfig={panel.fieldConfig}
      getActions={() => []} structureRev={1} cellHeight={panel.options.cellHeight} timeRange={undefined as any}
    />
  );
}

function Panel({ panel, frames, width }: any) {
  const { x, y, w, h } = panel.gridPos;
  const column = (width + GAP) / 24;
  const place = { left: x * column, top: y, width: w * column - GAP, height: h * (ROW + GAP) - GAP };
  const Kind: any = { stat: Figure, timeseries: Course, table: Table }[panel.type as string];
  const empty = !frames.length || !frames[0].length;
  return (
    <div style={{ position: 'absolute', left: place.left, top: y * (ROW + GAP) }}>
      <PanelChrome title={replaced(panel.title)} width={place.width} height={place.height} padding={panel.type === 'table' ? 'none' : undefined}>
        {(innerWidth: number, innerHeight: number) =>
          empty ? <div style={{ padding: 8, color: theme.colors.text.secondary }}>{panel.fieldConfig.defaults.noValue}</div>
            : <Kind panel={panel} frames={frames} width={innerWidth} height={innerHeight} />}
      </PanelChrome>
    </div>
  );
}

function Board({ drawn, width }: any) {
  const height = Math.max(...board.panels.map((panel: any) => (panel.gridPos.y + panel.gridPos.h) * (ROW + GAP)));
  return (
    <ThemeContext.Provider value={theme}>
      <div id="drawn" style={{ width: width + 2 * GAP, padding: GAP, background: theme.colors.background.canvas, color: theme.colors.text.primary }}>
        <div style={{ display: 'flex', justifyContent: 'space-between', padding: '4px 4px 10px' }}>
          <strong style={{ fontSize: 18 }}>{board.title}</strong>
          <span style={{ fontSize: 12, color: theme.colors.text.secondary }}>{note}</span>
        </div>
        <div style={{ position: 'relative', height }}>
          {board.panels.map((panel: any, place: number) => panel.type === 'row'
            ? <div key={panel.id} style={{ position: 'absolute', top: panel.gridPos.y * (ROW + GAP) + 6, left: 4, fontWeight: 500 }}>{replaced(panel.title)}</div>
            : <PanelContextProvider key={panel.id} value={{ eventBus: BUS, eventsScope: 'board' } as any}>
                <Panel panel={panel} frames={drawn[place]} width={width} />
              </PanelContextProvider>)}
        </div>
      </div>
    </ThemeContext.Provider>
  );
}

Promise.all(board.panels.map((panel: any) => (panel.type === 'row' ? [] : framed(panel)))).then((drawn) => {
  createRoot(document.getElementById('root')!).render(<Board drawn={drawn} width={1500} />);
  setTimeout(() => document.body.setAttribute('data-done', 'yes'), 3000);
});
