import { createHash } from 'node:crypto';

import { element, textElement } from '../../bench/plots/svg.js';
import type { Evaluation, Summary } from '../../requests/evaluate/evaluation.js';
import { className, short } from '../words.js';
import { bestFirst } from './best-first.js';
import { costChart, curvesChart, type Cost } from './report-charts.js';
import type { Example, Examples } from './report-examples.js';
import { REPORT_STYLE } from './report-style.js';

/** What a report shows. */
export interface Report {
  readonly model: string;
  /** Sentences about the run: the machine, the versions. */
  readonly facts: readonly string[];
  /** What repeats it. */
  readonly command: string;
  /** Pictures judged. */
  readonly pictures: number;
  readonly evaluation: Evaluation;
  readonly summary: readonly Summary[];
  readonly costs: readonly Cost[];
  readonly examples: readonly Examples[];
  /** The overlay of an example by a method, as a data URI. */
  readonly overlayOf: (example: Example, method: number) => string;
}

/** One HTML document that loads nothing and runs nothing: its policy forbids both. */
export function reportHtml(report: Report): string {
  const { model, facts, command, pictures, evaluation } = report;
  const hash = createHash('sha256').update(REPORT_STYLE).digest('base64');
  const policy = `default-src 'none'; img-src data:; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
  const heading = `How right are the maps of ${model}?`;
  const body = [
    textElement('h1', {}, heading),
    textElement(
      'p',
      { class: 'faint' },
      `${count(evaluation.methods.length, 'method')} by ${count(evaluation.metrics.length, 'metric')} on ${count(pictures, 'picture')}. ${facts.join(' ')}`,
    ),
    element('p', {}, [textElement('code', {}, command)]),
    ...summarySection(report),
    ...curvesSection(report),
    ...costSection(report),
    ...picturesSection(report),
  ];
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8" />',
    element('meta', { 'http-equiv': 'content-security-policy', content: policy }),
    '<meta name="viewport" content="width=device-width, initial-scale=1" />',
    '<meta name="color-scheme" content="light dark" />',
    textElement('title', {}, heading),
    // The hash is of exactly this text.
    `<style>${REPORT_STYLE}</style>`,
    '</head>',
    '<body>',
    '<main>',
    ...body,
    '</main>',
    '</body>',
    '</html>',
    '',
  ].join('\n');
}

function summarySection({ evaluation, summary }: Report): string[] {
  const heads = ['metric', 'method', 'mean', '95 % interval', 'p against the best', 'maps', 'without'];
  const cell = (text: string, isNumber = false): string =>
    textElement('td', { class: isNumber ? 'number' : undefined }, text);
  const bodies = evaluation.metrics.map(({ label, better }) => {
    const rows = bestFirst(summary, label, better);
    return element(
      'tbody',
      {},
      rows.map((row, at) =>
        element('tr', { class: row.isBest ? 'best' : undefined }, [
          at === 0
            ? element('th', { rowspan: rows.length, scope: 'rowgroup' }, [
                textElement('span', {}, label),
                '<br />',
                textElement('span', { class: 'faint' }, `${better} is better`),
              ])
            : '',
          cell(row.method),
          cell(figure(row.mean), true),
          cell(Number.isNaN(row.low) ? '' : `${short(row.low)} to ${short(row.high)}`, true),
          cell(row.isBest ? 'best' : Number.isNaN(row.pValue) ? '' : short(row.pValue), true),
          cell(String(row.count), true),
          cell(String(row.without), true),
        ]),
      ),
    );
  });
  const head = element(
    'tr',
    {},
    heads.map((text, at) => textElement('th', { scope: 'col', class: at > 1 ? 'number' : undefined }, text)),
  );
  return [
    textElement('h2', {}, 'Summary'),
    element('div', { class: 'wide', ...scrolls('Summary') }, [
      element('table', {}, [
        textElement(
          'caption',
          {},
          'Intervals are bootstrap intervals of the mean. p is of a paired sign-flip test against the best method, corrected for the number of methods (Holm). Maps without a figure are flat, not finite, or of a kind that the metric is not defined for.',
        ),
        element('thead', {}, [head]),
        ...bodies,
      ]),
    ]),
  ];
}

function curvesSection({ evaluation }: Report): string[] {
  const { methods, metrics, judgements } = evaluation;
  const charts = metrics.flatMap(({ label }) => curvesChart(label, methods, judgements) ?? []);
  if (charts.length === 0) return [];
  const others = charts.reduce((sum, chart) => sum + chart.others, 0);
  return [
    textElement('h2', {}, 'Mean curves'),
    textElement('p', { class: 'faint' }, 'The mean score of all maps after each step of a metric.'),
    ...(others > 0
      ? [
          textElement(
            'p',
            {},
            `${count(others, 'curve')} with other steps, of images of another size, could not be averaged.`,
          ),
        ]
      : []),
    element(
      'div',
      { class: 'plots' },
      charts.map(({ svg }) => svg),
    ),
  ];
}

function costSection({ evaluation, summary, costs }: Report): string[] {
  const { methods, metrics } = evaluation;
  const charts = metrics.flatMap(({ label }) => costChart(label, methods, summary, costs) ?? []);
  if (charts.length === 0) return [];
  const rows = costs.map(({ method, seconds, count: runs }) =>
    element('tr', {}, [
      textElement('td', {}, method),
      textElement('td', { class: 'number' }, short(seconds)),
      textElement('td', { class: 'number' }, String(runs)),
    ]),
  );
  const head = ['method', 'seconds per picture', 'runs'].map((text, at) =>
    textElement('th', { scope: 'col', class: at > 0 ? 'number' : undefined }, text),
  );
  return [
    textElement('h2', {}, 'Quality against cost'),
    textElement(
      'p',
      { class: 'faint' },
      'Seconds are the wall-clock time of explaining one picture of those below: alone, without any metric, decoding included, after one run to warm up. Each is the median of the runs of this evaluation; other work on the machine slows it.',
    ),
    element('div', { class: 'plots' }, charts),
    element('div', { class: 'wide', ...scrolls('Cost') }, [
      element('table', {}, [element('thead', {}, [element('tr', {}, head)]), element('tbody', {}, rows)]),
    ]),
  ];
}

function picturesSection({ evaluation, examples, overlayOf }: Report): string[] {
  const row = (title: string, { metric }: Examples, example: Example): string[] => [
    textElement('p', {}, `${title}: ${example.picture.image}, ${className(example.judgements[0]!.target)}`),
    element(
      'div',
      { class: 'pictures', ...scrolls(`Overlays of ${example.picture.image}`) },
      evaluation.methods.map((method, at) => {
        const value = figure(example.judgements[at]!.figures[metric]!);
        return element('figure', {}, [
          element('img', { src: overlayOf(example, at), alt: `Overlay of ${method} on ${example.picture.image}` }),
          element('figcaption', {}, [textElement('b', {}, value), ' ', textElement('span', {}, method)]),
        ]);
      }),
    ),
  ];
  const shown = examples.filter(({ best }) => best.length > 0);
  if (shown.length === 0) return [];
  return [
    textElement('h2', {}, 'Best and worst pictures'),
    textElement('p', { class: 'faint' }, 'By the mean figure of all methods on a picture; each overlay with its own.'),
    ...shown.flatMap((each) => [
      textElement('h3', {}, each.metric),
      ...each.best.flatMap((example) => row('Best', each, example)),
      ...each.worst.flatMap((example) => row('Worst', each, example)),
    ]),
  ];
}

/** What is wider than a screen is scrolled by keys too. */
const scrolls = (name: string): Readonly<Record<string, string | number>> => ({
  tabindex: 0,
  role: 'group',
  'aria-label': name,
});

const figure = (value: number): string => (Number.isNaN(value) ? 'no figure' : short(value));
const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;
