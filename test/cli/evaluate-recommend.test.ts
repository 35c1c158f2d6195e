import path from 'node:path';

import { describe, expect, it } from 'vitest';

import type { Model } from '../../lib/index.js';
import { recommend, secondsOf } from '../../lib/cli/evaluation/recommend.js';
import type { JudgedPicture } from '../../lib/cli/evaluation/judging.js';
import type { Summary } from '../../lib/requests/evaluate/evaluation.js';
import { ROOT, sightline, useBuiltCommand } from './command.js';

useBuiltCommand();

const row = (metric: string, better: 'higher' | 'lower', method: string, mean: number, pValue: number): Summary => ({
  ...{ metric, better, method, mean, pValue },
  ...{ low: mean, high: mean, count: 9, without: 0, isBest: Number.isNaN(pValue) },
});

describe('which method to use', () => {
  const summary = [
    row('deletion', 'lower', 'slow', 0.1, NaN),
    row('deletion', 'lower', 'quick', 0.12, 0.4),
    row('deletion', 'lower', 'bad', 0.3, 0.001),
    row('iou', 'higher', 'slow', 0.5, 0.2),
    row('iou', 'higher', 'quick', 0.55, NaN),
    row('iou', 'higher', 'bad', NaN, NaN),
  ];

  it('is the first of those that no metric tells from the best', () => {
    const { ranked, method } = recommend(
      ['slow', 'quick', 'bad'],
      [4, 1, 0.1],
      [
        ...summary,
        row('sparseness', 'higher', 'slow', 0.9, NaN),
        row('sparseness', 'higher', 'quick', 0.8, 0.06),
        row('sparseness', 'higher', 'bad', 0.7, 0.01),
      ],
    );
    expect(method).toBe('slow');
    // Places 1, 2, 1 and 2, 1, 2 and 3, 3, 3.
    expect(ranked).toEqual([
      { method: 'slow', rank: 4 / 3, seconds: 4, isAsGood: true },
      { method: 'quick', rank: 5 / 3, seconds: 1, isAsGood: true },
      { method: 'bad', rank: 3, seconds: 0.1, isAsGood: false },
    ]);
  });

  it('is not one that some metric tells from its best, though it is first by its places', () => {
    const known = summary.map((each) => (each.method === 'slow' && !each.isBest ? { ...each, pValue: 0.04 } : each));
    expect(recommend(['slow', 'quick', 'bad'], [4, 5, 0.1], known).ranked[0]!.method).toBe('slow');
    expect(recommend(['slow', 'quick', 'bad'], [4, 5, 0.1], known).method).toBe('quick');
  });

  it('is the best by its places where each is worse by some metric', () => {
    const worse = summary.map((each) => (each.isBest ? each : { ...each, pValue: 0.01 }));
    expect(recommend(['slow', 'quick', 'bad'], [4, 1, 0.1], worse).method).toBe('quick');
    expect(recommend(['slow', 'quick', 'bad'], [1, 4, 0.1], worse).method).toBe('slow');
  });

  it('takes the median of three runs after one that makes the program', async () => {
    let time = 0;
    const spans = [100, 2, 9, 5, 50, 1, 1, 1];
    const asked: object[] = [];
    const model = {
      explain: (_images: unknown, options: object) => {
        asked.push(options);
        time += spans.shift()!;
        return Promise.resolve([]);
      },
    } as unknown as Pick<Model, 'explain'>;
    const picture = (index: number): JudgedPicture => {
      const judgement = { target: { index, label: 'a', score: 1 } } as JudgedPicture['judgements'][0][0];
      return {
        picture: { image: 'a.jpg', target: null, object: null },
        image: 'a.jpg',
        judgements: [[judgement], [judgement]],
      };
    };
    const { signal } = new AbortController();
    const methods = [
      { label: 'one', asked: { method: 'rise', masks: 3, label: 'one' } as const },
      { label: 'two', asked: 'gae' as const },
    ];
    const seconds = await secondsOf(model, methods, [7, 8, 9, 10].map(picture), signal, () => time);
    expect(seconds).toEqual([5, 1]);
    expect(asked).toEqual([
      ...[7, 7, 8, 9].map((target) => ({ method: 'rise', masks: 3, targets: [target], signal })),
      ...[7, 7, 8, 9].map((target) => ({ method: 'gae', targets: [target], signal })),
    ]);
  });

  it('is said by the command, of the methods named, or of all that apply', async () => {
    const pictures = ['000.png', '001.png', '002.png'].map((file) => path.join(ROOT, 'models/eval', file));
    const flags = ['--model', 'resnet-tiny-shapes', '--metric', 'sparseness', '--recommend', '--json'];
    const { code, stdout } = await sightline(
      ...['evaluate', ...pictures, ...flags, '--method', 'cam', '--method', 'grad-cam', '--method', 'gradient'],
    );
    expect(code).toBe(0);
    const { recommendation } = JSON.parse(stdout) as {
      recommendation: { method: string; ranked: { method: string; seconds: number }[] };
    };
    expect(recommendation.ranked.map(({ method }) => method).sort()).toEqual(['cam', 'grad-cam', 'gradient']);
    expect(recommendation.ranked.every(({ seconds }) => seconds > 0)).toBe(true);
    const none = await sightline('evaluate', ...pictures, '--metric', 'sparseness');
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('by --recommend')]);
  });
});
