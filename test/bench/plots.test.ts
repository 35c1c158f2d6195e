import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { INK, SERIES } from '../../lib/bench/plots/colors.js';
import { costPlot, latencyPlot, throughputPlot } from '../../lib/bench/plots/plots.js';
import { doublingScale, linearScale, logScale, spanScale } from '../../lib/bench/plots/scales.js';
import { escapeText } from '../../lib/bench/plots/svg.js';
import { FORWARD, type BenchReport } from '../../lib/bench/report.js';
import { configuration, latencyRow, sampleReport, throughputRow } from './sample-report.js';

interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: Element[];
  text: string;
}

/** A strict reader of XML without comments, CDATA or DTD. */
function parseXml(source: string): Element {
  const root: Element = { name: '', attributes: {}, children: [], text: '' };
  const open = [root];
  const decode = (text: string): string => {
    expect(text).not.toMatch(/[<>]|&(?!(amp|lt|gt|quot|apos);)/);
    return text.replace(/&(\w+);/g, (_, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" })[name]!);
  };
  const body = source.replace(/^<\?xml version="1\.0" encoding="UTF-8"\?>\n/, '');
  expect(body).not.toBe(source);
  for (const [, text, closing, name, attributes, selfClosing] of body.matchAll(
    /([^<]*)(?:<(\/?)([a-z]+)((?: [a-zA-Z0-9:-]+="[^"]*")*)(\/?)>)?/gy,
  )) {
    const parent = open.at(-1)!;
    parent.text += decode(text!);
    if (name === undefined) break;
    if (closing) {
      expect(name).toBe(parent.name);
      open.pop();
      continue;
    }
    const child: Element = { name, attributes: {}, children: [], text: '' };
    for (const [, key, value] of attributes!.matchAll(/ ([^=]+)="([^"]*)"/g)) {
      (child.attributes as Record<string, string>)[key!] = decode(value!);
    }
    parent.children.push(child);
    if (!selfClosing) open.push(child);
  }
  expect(open).toHaveLength(1);
  expect(root.children).toHaveLength(1);
  return root.children[0]!;
}

const all = (element: Element, name: string): Element[] => [
  ...(element.name === name ? [element] : []),
  ...element.children.flatMap((child) => all(child, name)),
];
const number = (element: Element, key: string): number => Number(element.attributes[key]);
const texts = (element: Element): string[] => all(element, 'text').map(({ text }) => text);
const panels = (svg: string): Element[] => parseXml(svg).children.filter(({ name }) => name === 'g');

/** From pixels back to values, by two marks of an axis; `scale` is that of the axis. */
function reader(
  marks: readonly (readonly [pixel: number, value: number])[],
  scale: (value: number) => number,
  inverse: (value: number) => number,
): (pixel: number) => number {
  const [[firstPixel, first], [lastPixel, last]] = [marks[0]!, marks.at(-1)!];
  return (pixel) =>
    inverse(scale(first) + ((scale(last) - scale(first)) * (pixel - firstPixel)) / (lastPixel - firstPixel));
}
/** The marks along the left edge (text ending at one x) or the bottom (text centred at one y). */
function marksOf(panel: Element, axis: 'x' | 'y'): [number, number][] {
  const numeric = all(panel, 'text').filter(
    ({ text, attributes }) =>
      /^[\d.e+]+$/.test(text) && attributes['text-anchor'] === (axis === 'y' ? 'end' : 'middle'),
  );
  // Text sits four pixels below the line that it marks.
  return numeric.map((mark) => [number(mark, axis) - (axis === 'y' ? 4 : 0), Number(mark.text)]);
}
const measured = (panel: Element): Element[] =>
  all(panel, 'circle').filter(({ attributes }) => attributes['class'] !== 'key');

const forward = { 1: [10, 11, 12, 10, 10], 8: [50, 52, 51, 60, 50], 32: [200, 190, 210, 200, 205] };
const times = (factor: number, batch: 1 | 8 | 32): number[] => forward[batch].map((time) => factor * time);
const SIZES = [1, 8, 32] as const;
const report: BenchReport = sampleReport({
  configurations: [configuration(), configuration({ dtype: 'bf16' })],
  throughput: [
    ...SIZES.flatMap((batch) => [
      throughputRow(FORWARD, batch, forward[batch], forward[batch]),
      throughputRow('gae', batch, times(2.5, batch), forward[batch]),
      throughputRow('cam', batch, times(1.04, batch), forward[batch]),
    ]),
    throughputRow(FORWARD, 8, times(0.5, 8), times(0.5, 8), { dtype: 'bf16' }),
  ],
  latency: [1, 4, 16].flatMap((concurrency) => [
    latencyRow(FORWARD, concurrency, [10 * concurrency, 14 * concurrency, 15 * concurrency]),
    latencyRow('gae', concurrency, [25 * concurrency, 33 * concurrency, 47 * concurrency]),
    latencyRow('gae', concurrency, [30 * concurrency, 60 * concurrency, 61 * concurrency], { source: 'files' }),
  ]),
});

describe('throughputPlot', () => {
  const svg = throughputPlot(report)!;

  it('has a panel for each configuration that says what it is', () => {
    const titles = panels(svg).map((panel) => texts(panel)[0]);
    expect(titles).toEqual(['net, cpu, f32, 48 x 32', 'net, cpu, bf16, 48 x 32']);
    expect(texts(panels(svg)[0]!)).toEqual(
      expect.arrayContaining(['images/s', 'images per batch', 'plain forward', 'gae', 'cam']),
    );
  });

  it('puts each figure where its axes say', () => {
    const [panel] = panels(svg);
    const x = reader(marksOf(panel!, 'x'), Math.log2, (value) => 2 ** value);
    const y = reader(
      marksOf(panel!, 'y'),
      (value) => value,
      (value) => value,
    );
    const found = measured(panel!).map((point) => [x(number(point, 'cx')), y(number(point, 'cy'))]);
    const rows = report.throughput.filter(({ dtype }) => dtype === 'f32');
    const expected = [FORWARD, 'gae', 'cam'].flatMap((job) =>
      rows.filter((row) => row.job === job).map(({ batch, imagesPerSecond }) => [batch, imagesPerSecond.median]),
    );
    expect(found).toHaveLength(9);
    found.forEach(([batch, images], i) => {
      expect(batch).toBeCloseTo(expected[i]![0]!, 1);
      expect(images).toBeCloseTo(expected[i]![1]!, 0);
    });
    // Each line runs through its points.
    const lines = all(panel!, 'polyline').map(({ attributes }) => attributes['points']!.split(' '));
    expect(lines.flat()).toEqual(measured(panel!).map(({ attributes }) => `${attributes['cx']},${attributes['cy']}`));
  });

  it('puts a lone batch size into the middle', () => {
    const [, panel] = panels(svg);
    const [point] = measured(panel!);
    const [grid] = all(panel!, 'line');
    expect(number(point!, 'cx')).toBe((number(grid!, 'x1') + number(grid!, 'x2')) / 2);
  });
});

describe('latencyPlot', () => {
  it('has a panel per job with the three percentiles where its axes say', () => {
    const drawn = panels(latencyPlot(report)!);
    expect(drawn.map((panel) => texts(panel)[0])).toEqual([
      'plain forward: net, cpu, f32, 48 x 32',
      'gae: net, cpu, f32, 48 x 32',
      'gae, file to file: net, cpu, f32, 48 x 32',
    ]);
    const panel = drawn[1]!;
    expect(texts(panel)).toEqual(expect.arrayContaining(['latency, ms', 'concurrent callers', 'p50', 'p95', 'p99']));
    const x = reader(marksOf(panel, 'x'), Math.log2, (value) => 2 ** value);
    const y = reader(marksOf(panel, 'y'), Math.log, Math.exp);
    const found = measured(panel).map((point) => [x(number(point, 'cx')), y(number(point, 'cy'))]);
    const expected = [25, 33, 47].flatMap((latency) =>
      [1, 4, 16].map((concurrency) => [concurrency, latency * concurrency]),
    );
    found.forEach(([callers, latency], i) => {
      expect(callers).toBeCloseTo(expected[i]![0]!, 1);
      expect(latency! / expected[i]![1]!).toBeCloseTo(1, 2);
    });
    expect(found).toHaveLength(9);
    // Neighbours share their scale, so that they can be compared by eye.
    expect(new Set(drawn.map((each) => JSON.stringify(marksOf(each, 'y')))).size).toBe(1);
  });
});

describe('costPlot', () => {
  it('draws a bar per method and batch size, and the plain forward pass as a line at 1', () => {
    const drawn = panels(costPlot(report)!);
    // Of bf16 only the plain forward pass was measured.
    expect(drawn).toHaveLength(1);
    const [panel] = drawn;
    const x = reader(
      marksOf(panel!, 'x'),
      (value) => value,
      (value) => value,
    );
    const bars = all(panel!, 'rect').filter(({ attributes }) => attributes['class'] !== 'key');
    expect(bars.map((bar) => x(number(bar, 'x')))).toEqual(Array(6).fill(expect.closeTo(0, 2)));
    const ends = bars.map((bar) => x(number(bar, 'x') + number(bar, 'width')));
    [2.5, 2.5, 2.5, 1.04, 1.04, 1.04].forEach((ratio, i) => expect(ends[i]).toBeCloseTo(ratio, 2));
    expect(bars.map((bar) => bar.children[0]!.text).slice(0, 2)).toEqual([
      'gae, batch 1: 2.50 time, in plain forward passes',
      'gae, batch 8: 2.50 time, in plain forward passes',
    ]);
    const dashed = all(panel!, 'line').filter(({ attributes }) => attributes['stroke-dasharray'] !== undefined);
    expect(dashed.map((line) => [x(number(line, 'x1')), x(number(line, 'x2'))])).toEqual([
      [expect.closeTo(1, 2), expect.closeTo(1, 2)],
    ]);
    expect(texts(panel!)).toEqual(
      expect.arrayContaining(['gae', 'cam', 'plain forward', 'batch 1', 'batch 32', '2.50', '1.04']),
    );
  });
});

describe('every plot', () => {
  const hostile = '<script>"&\'</script>\u0007 \u{1F600} \ud800';
  const odd = sampleReport({
    configurations: [configuration({ model: hostile })],
    throughput: [
      throughputRow(FORWARD, 8, forward[8], forward[8], { model: hostile }),
      throughputRow('x&y<z>', 8, times(2, 8), forward[8], { model: hostile }),
    ],
    latency: [latencyRow('x&y<z>', 4, [1, 2, 3], { model: hostile })],
  });

  it.each([
    ['throughput', throughputPlot],
    ['latency', latencyPlot],
    ['cost', costPlot],
  ])('%s is well-formed, also with names that are not, and has a size at which it can be drawn', async (_, plot) => {
    for (const each of [report, odd]) {
      const svg = plot(each)!;
      const { attributes } = parseXml(svg);
      // librsvg reads it too, and strictly.
      const { width, height } = await sharp(Buffer.from(svg)).metadata();
      expect([String(width), String(height)]).toEqual([attributes['width'], attributes['height']]);
      for (const element of ['circle', 'rect', 'line', 'text'].flatMap((name) => all(parseXml(svg), name))) {
        for (const key of ['x', 'y', 'x1', 'x2', 'y1', 'y2', 'cx', 'cy', 'width']) {
          const value = element.attributes[key];
          if (value !== undefined) expect(Number(value)).toBeGreaterThanOrEqual(0);
        }
      }
    }
    expect(texts(parseXml(plot(odd)!)).join('\n')).toContain('<script>"&\'</script> \u{1F600}');
  });

  it('is not drawn where there is nothing to show', () => {
    const empty = sampleReport();
    expect([throughputPlot(empty), latencyPlot(empty), costPlot(empty)]).toEqual([null, null, null]);
    expect(costPlot(sampleReport({ throughput: [throughputRow(FORWARD, 8, forward[8], forward[8])] }))).toBeNull();
  });

  it('has colours that can be seen on a light page and on a dark one', () => {
    const luminance = (colour: string): number => {
      const [red, green, blue] = [1, 3, 5]
        .map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
    };
    const contrast = (a: string, b: string): number =>
      (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);
    for (const ground of ['#ffffff', '#0d1117']) {
      expect(contrast(INK, ground)).toBeGreaterThanOrEqual(4);
      for (const colour of SERIES) expect(contrast(colour, ground)).toBeGreaterThanOrEqual(3);
    }
  });
});

describe('scales', () => {
  it('mark round numbers around the values', () => {
    expect(linearScale(130, 0, 100).ticks).toEqual([0, 50, 100, 150]);
    expect(linearScale(1.39, 0, 100).ticks).toEqual([0, 0.5, 1, 1.5]);
    expect(linearScale(0.3, 0, 100).ticks).toEqual([0, 0.1, 0.2, 0.3]);
    expect(linearScale(5, 0, 100).at(2.5)).toBe(50);
    expect(spanScale([0.25, 0.75], 0, 100).ticks).toEqual([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]);
    expect(spanScale([-3, 0, 11], 0, 100).ticks).toEqual([-5, 0, 5, 10, 15]);
    expect(spanScale([-3, 0, 11], 0, 100).at(0)).toBe(25);
    expect(spanScale([1, 1], 0, 100).ticks).toEqual([1, 1.2]);
    expect(spanScale([0], 0, 100).ticks).toEqual([0, 0.2]);
    expect(spanScale([-0.4], 0, 100).ticks).toEqual([-0.4, -0.3]);
    expect(logScale(12, 80, 0, 100).ticks).toEqual([10, 20, 50, 100]);
    expect(logScale(0.03, 0.03, 0, 100).ticks).toEqual([0.02, 0.05]);
    expect(logScale(10, 10, 0, 100).ticks).toEqual([10, 20]);
    expect(logScale(10, 1000, 0, 100).at(100)).toBeCloseTo(50, 9);
    expect(doublingScale([8, 1, 8, 64], 0, 60)).toMatchObject({ ticks: [1, 8, 64] });
    expect(doublingScale([1, 64], 0, 60).at(8)).toBeCloseTo(30, 9);
  });
});

it('escapes what markup is made of', () => {
  expect(escapeText('a<b> & "c" \'d\'')).toBe('a&lt;b&gt; &amp; &quot;c&quot; &apos;d&apos;');
  expect(escapeText('\u0000\ud800x\ufffe\u{1F600}')).toBe('x\u{1F600}');
});
