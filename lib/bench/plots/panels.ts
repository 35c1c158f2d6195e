import { GRID_OPACITY, INK, seriesColor } from './colors.js';
import { doublingScale, linearScale, logScale, spanScale, type Scale } from './scales.js';
import { element, rounded, textElement } from './svg.js';

/** A panel that is drawn, its upper left corner at 0, 0. */
export interface Panel {
  readonly height: number;
  readonly content: string;
}

export const PANEL_WIDTH = 600;
const LINES_HEIGHT = 340;
const LEGEND_WIDTH = 190;
const LEGEND_LINE = 20;
const LEGEND_COLUMN = 92;
const LEGEND_COLUMNS = 6;
const TOP = 40;
const BOTTOM = 46;
const LEFT = 64;
const BAR = 16;
const NUMBER_WIDTH = 30;

export interface Series {
  readonly name: string;
  /** Index of its color. */
  readonly color: number;
  readonly dash?: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export interface LineChart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** Default: doublings equally far apart, marked where something was measured. */
  readonly xScale?: 'span' | 'log';
  /** `linear` begins at 0, `span` near the lowest value. */
  readonly yScale: 'linear' | 'span' | 'log';
  /** Further values that the y axis must reach, so that neighboring panels can be compared by eye. */
  readonly yReach?: readonly number[];
  /** Whether each point has a dot, which says its values. Default true. */
  readonly dots?: boolean;
  readonly series: readonly Series[];
}

/** Lines, with a dot where something was measured. */
export function linePanel(chart: LineChart): Panel {
  const { title, xLabel, yLabel, yReach = [], dots = true, series } = chart;
  const height = Math.max(LINES_HEIGHT, TOP + LEGEND_LINE * series.length + BOTTOM);
  const bottom = height - BOTTOM;
  const right = PANEL_WIDTH - LEGEND_WIDTH;
  const points = series.flatMap((each) => each.points);
  const ys = [...points.map(({ y }) => y), ...yReach];
  const xs = points.map((point) => point.x);
  const x = scaleOf(chart.xScale ?? 'doubling', xs, LEFT + 16, right - 16);
  const y = scaleOf(chart.yScale, ys, bottom, TOP);
  return {
    height,
    content: [
      titleOf(title),
      ...y.ticks.map((tick) => rule({ x1: LEFT, x2: right, y1: y.at(tick), y2: y.at(tick) })),
      ...yAxisTexts(y, yLabel, bottom),
      ...x.ticks.map((tick) => label(tickText(tick), { x: x.at(tick), y: bottom + 18, 'text-anchor': 'middle' })),
      label(xLabel, { x: (LEFT + right) / 2, y: bottom + 38, 'text-anchor': 'middle' }),
      ...series.flatMap(({ name, color, dash, points: own }, i) => {
        const stroke = seriesColor(color);
        const path = [...own]
          .sort((a, b) => a.x - b.x)
          .map((point) => `${rounded(x.at(point.x))},${rounded(y.at(point.y))}`);
        return [
          element('polyline', {
            points: path.join(' '),
            fill: 'none',
            stroke,
            'stroke-width': 2,
            'stroke-dasharray': dash,
          }),
          ...(dots ? own : []).map((point) =>
            element('circle', { cx: x.at(point.x), cy: y.at(point.y), r: 3.5, fill: stroke }, [
              textElement('title', {}, `${name}, ${xLabel} ${tickText(point.x)}: ${valueText(point.y)} ${yLabel}`),
            ]),
          ),
          ...legendEntry(name, stroke, dash, right + 14, TOP + 10 + LEGEND_LINE * i),
        ];
      }),
    ].join('\n'),
  };
}

function scaleOf(
  kind: 'doubling' | 'linear' | 'span' | 'log',
  values: readonly number[],
  from: number,
  to: number,
): Scale {
  if (kind === 'doubling') return doublingScale(values, from, to);
  if (kind === 'span') return spanScale(values, from, to);
  return kind === 'log'
    ? logScale(Math.min(...values), Math.max(...values), from, to)
    : linearScale(Math.max(...values), from, to);
}

export interface BarChart {
  readonly title: string;
  readonly xLabel: string;
  /** Groups from top to bottom, each with its bars. `low` and `high` bound the middle half. */
  readonly groups: readonly {
    readonly name: string;
    readonly bars: readonly {
      readonly name: string;
      readonly color: number;
      readonly value: number;
      readonly low: number;
      readonly high: number;
    }[];
  }[];
  /** Where a line stands, and what it is. */
  readonly reference: { readonly value: number; readonly name: string };
}

/** Horizontal bars, since methods have long names; a whisker over the middle half of the samples. */
export function barPanel({ title, xLabel, groups, reference }: BarChart): Panel {
  const left = 210;
  const right = PANEL_WIDTH - 100;
  const gap = 10;
  const heights = groups.map(({ bars }) => bars.length * BAR + gap);
  const bottom = TOP + 14 + heights.reduce((sum, height) => sum + height, 0);
  const highest = Math.max(
    reference.value,
    ...groups.flatMap(({ bars }) => bars.map(({ value, high }) => Math.max(value, high))),
  );
  const x = linearScale(highest, left, right);
  const names = new Map(groups.flatMap(({ bars }) => bars.map((bar): [string, number] => [bar.name, bar.color])));
  const at = x.at(reference.value);
  // Beside its bar and whisker; where the reference line would run through it, beside that.
  const numberLeft = (end: number): number => (end + 6 < at + 3 && end + 6 + NUMBER_WIDTH > at ? at + 6 : end + 6);
  let top = TOP + 14;
  const drawn: string[] = [];
  for (const [i, { name, bars }] of groups.entries()) {
    drawn.push(label(shortened(name, 28), { x: left - 8, y: top + (bars.length * BAR) / 2 + 4, 'text-anchor': 'end' }));
    for (const [j, bar] of bars.entries()) {
      const middle = top + j * BAR + BAR / 2;
      drawn.push(
        element(
          'rect',
          { x: left, y: middle - 6, width: x.at(bar.value) - left, height: 12, fill: seriesColor(bar.color) },
          [textElement('title', {}, `${name}, ${bar.name}: ${bar.value.toFixed(2)} ${xLabel}`)],
        ),
        rule({ x1: x.at(bar.low), x2: x.at(bar.high), y1: middle, y2: middle }, { opacity: 1, 'stroke-width': 1.5 }),
        label(bar.value.toFixed(2), { x: numberLeft(Math.max(x.at(bar.value), x.at(bar.high))), y: middle + 4 }),
      );
    }
    top += heights[i]!;
  }
  return {
    height: bottom + BOTTOM + 6 + LEGEND_LINE * Math.ceil(names.size / LEGEND_COLUMNS),
    content: [
      titleOf(title),
      ...x.ticks.map((tick) => rule({ x1: x.at(tick), x2: x.at(tick), y1: TOP + 10, y2: bottom })),
      ...x.ticks.map((tick) => label(tickText(tick), { x: x.at(tick), y: bottom + 18, 'text-anchor': 'middle' })),
      label(xLabel, { x: (left + right) / 2, y: bottom + 38, 'text-anchor': 'middle' }),
      ...drawn,
      rule(
        { x1: at, x2: at, y1: TOP + 10, y2: bottom },
        { opacity: 1, 'stroke-width': 1.5, 'stroke-dasharray': '5 3' },
      ),
      label(reference.name, { x: at, y: TOP + 4, 'text-anchor': 'middle' }),
      ...[...names].flatMap(([name, color], i) => {
        const [keyLeft, keyTop] = [
          16 + LEGEND_COLUMN * (i % LEGEND_COLUMNS),
          bottom + 48 + LEGEND_LINE * Math.floor(i / LEGEND_COLUMNS),
        ];
        return [
          element('rect', { x: keyLeft, y: keyTop, width: 12, height: 12, fill: seriesColor(color), class: 'key' }),
          label(name, { x: keyLeft + 18, y: keyTop + 10 }),
        ];
      }),
    ].join('\n'),
  };
}

/** Panels in columns below one heading, as one SVG document. */
export function documentOf(heading: string, panels: readonly Panel[], perRow = panels.length > 1 ? 2 : 1): string {
  const headingHeight = 44;
  const rows = Array.from({ length: Math.ceil(panels.length / perRow) }, (_, row) =>
    panels.slice(row * perRow, (row + 1) * perRow),
  );
  const width = PANEL_WIDTH * Math.min(perRow, panels.length);
  let top = headingHeight;
  const placed = rows.flatMap((row) => {
    const groups = row.map(({ content }, column) =>
      element('g', { transform: `translate(${column * PANEL_WIDTH} ${top})` }, [`\n${content}\n`]),
    );
    top += Math.max(...row.map(({ height }) => height)) + 12;
    return groups;
  });
  const drawn = [
    `\n${textElement('text', { x: 16, y: 28, 'font-size': 17, 'font-weight': 600 }, heading)}\n`,
    placed.join('\n'),
    '\n',
  ];
  return `<?xml version="1.0" encoding="UTF-8"?>\n${svgOf(heading, width, top, drawn)}\n`;
}

/** A panel alone, to stand within an HTML document. */
export function inlineOf(name: string, { height, content }: Panel): string {
  return svgOf(name, PANEL_WIDTH, height, [content]);
}

function svgOf(name: string, width: number, height: number, drawn: readonly string[]): string {
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      width,
      height,
      viewBox: `0 0 ${width} ${height}`,
      'font-family': 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif',
      'font-size': 12,
      fill: INK,
      role: 'img',
    },
    [textElement('title', {}, name), ...drawn],
  );
}

function titleOf(text: string): string {
  return textElement('text', { x: 16, y: 20, 'font-size': 13, 'font-weight': 600 }, shortened(text, 84));
}

function label(text: string, attributes: Readonly<Record<string, string | number>>): string {
  return textElement('text', attributes, text);
}

function rule(
  ends: Readonly<Record<'x1' | 'x2' | 'y1' | 'y2', number>>,
  style: Readonly<Record<string, string | number>> = {},
): string {
  return element('line', { ...ends, stroke: INK, opacity: GRID_OPACITY, 'stroke-width': 1, ...style });
}

function yAxisTexts(y: Scale, text: string, bottom: number): string[] {
  const middle = (TOP + bottom) / 2;
  return [
    ...y.ticks.map((tick) => label(tickText(tick), { x: LEFT - 8, y: y.at(tick) + 4, 'text-anchor': 'end' })),
    label(text, { x: 16, y: middle, 'text-anchor': 'middle', transform: `rotate(-90 16 ${rounded(middle)})` }),
  ];
}

function legendEntry(name: string, stroke: string, dash: string | undefined, x: number, y: number): string[] {
  return [
    element('line', {
      x1: x,
      x2: x + 22,
      y1: y,
      y2: y,
      stroke,
      'stroke-width': 2,
      ...(dash !== undefined && { 'stroke-dasharray': dash }),
    }),
    element('circle', { cx: x + 11, cy: y, r: 3.5, fill: stroke, class: 'key' }),
    label(shortened(name, 24), { x: x + 28, y: y + 4 }),
  ];
}

function shortened(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

function tickText(value: number): string {
  return value >= 1e5 ? value.toExponential() : String(value);
}

function valueText(value: number): string {
  return String(Number(value.toPrecision(4)));
}
