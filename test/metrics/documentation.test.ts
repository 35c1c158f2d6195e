import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { describeMetrics } from '../../lib/index.js';
import { METRIC_NAMES, METRICS } from '../../lib/metrics/index.js';
import { parseEvaluateOptions } from '../../lib/requests/evaluate/options.js';

const page = readFileSync(new URL('../../docs/evaluate.md', import.meta.url), 'utf8');

describe('the page about metrics', () => {
  it('lists each of them, and which way is better', () => {
    const rows = [...page.matchAll(/^\| `([a-z0-9-]+)` +\| (higher|lower) +\|/gm)].map(([, name, better]) => [
      name,
      better,
    ]);
    expect(Object.fromEntries(rows)).toEqual(
      Object.fromEntries(METRIC_NAMES.map((name) => [name, METRICS[name].better])),
    );
    expect(rows).toHaveLength(METRIC_NAMES.length);
  });

  it('and the README say how many there are', () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
    expect(readme).toContain(`${METRIC_NAMES.length} metrics`);
  });
});

describe.each(describeMetrics().map((metric) => [metric.name, metric] as const))('%s', (name, metric) => {
  const settingsOf = (options: object): unknown =>
    parseEvaluateOptions({
      methods: ['grad-cam'],
      metrics: [{ metric: name, ...options } as never],
      objects: [{ boxes: [{ left: 0, top: 0, width: 1, height: 1 }] }],
    }).metrics[0]!.settings;

  it('is plain JSON, with a sentence, its paper, and for each option a description and a default', () => {
    expect(JSON.parse(JSON.stringify(metric))).toEqual(metric);
    expect(metric.summary).toMatch(/^[A-Z].*\.$/s);
    // Intersection over union is older than any paper about it.
    if (!['iou', 'pixel-accuracy'].includes(name)) expect(metric.description).toMatch(/\b(19|20)\d\d\b/);
    const settings = settingsOf({}) as Record<string, unknown>;
    for (const [option, schema] of Object.entries(metric.options.properties)) {
      expect(schema.description, option).toMatch(/^\S.*\.$/s);
      expect(schema.default, option).toEqual(settings[option]);
    }
  });

  it('takes what its description offers: each word, each end of a range, each package', () => {
    for (const [option, schema] of Object.entries(metric.options.properties)) {
      const { enum: words = [], minimum, maximum } = schema as { enum?: unknown[]; minimum?: number; maximum?: number };
      const ends = [minimum, maximum].filter((end) => end !== undefined && Math.abs(end) < Number.MAX_SAFE_INTEGER);
      for (const value of [...words, ...ends]) {
        expect(settingsOf({ [option]: value }), `${option}: ${String(value)}`).toMatchObject({ [option]: value });
      }
    }
    for (const [compat, settings] of Object.entries(metric.packages)) {
      expect(settingsOf({ compat })).toMatchObject(settings);
    }
  });
});
