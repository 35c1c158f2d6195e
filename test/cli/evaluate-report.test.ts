import { createHash } from 'node:crypto';
import { copyFileSync } from 'node:fs';
import path from 'node:path';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { bestFirst } from '../../lib/cli/evaluation/best-first.js';
import { costChart, curvesChart, meanCurve } from '../../lib/cli/evaluation/report-charts.js';
import { examplesOf, Overlays } from '../../lib/cli/evaluation/report-examples.js';
import { reportHtml } from '../../lib/cli/evaluation/report.js';
import { Model } from '../../lib/index.js';
import { ROOT, temporaryFolder } from './command.js';
import { HOSTILE, judgedPictures, judgement, sampleReport } from './sample-report.js';

const curve = (shares: number[], scores: number[]): { shares: Float32Array; scores: Float32Array } => ({
  shares: Float32Array.from(shares),
  scores: Float32Array.from(scores),
});
const points = (svg: string): string[] => [...svg.matchAll(/<polyline points="([^"]*)"/g)].map(([, text]) => text!);
const circles = (svg: string): [number, number][] =>
  [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)" r="3.5" fill="#\w+">/g)].map(([, x, y]) => [
    Number(x),
    Number(y),
  ]);

describe('mean curves', () => {
  const judgements = [
    judgement('a', 'cam', {}, { deletion: curve([0, 0.5, 1], [1, 0.5, 0]) }),
    judgement('b', 'cam', {}, { deletion: curve([0, 0.5, 1], [0.5, 0.25, 0.25]) }),
    judgement('c', 'cam', {}, { deletion: curve([0, 1], [1, 1]) }),
    judgement('a', 'gae', {}, { deletion: curve([0, 0.5, 1], [0, 1, 0]) }),
    judgement('d', 'gae', {}, {}),
  ];

  it('are means step by step; curves of other steps are counted, not mixed in', () => {
    const cam = judgements.filter(({ method }) => method === 'cam');
    expect(meanCurve(cam, 'deletion')).toEqual({
      shares: [0, 0.5, 1],
      scores: [0.75, 0.375, 0.125],
      count: 2,
      others: 1,
    });
    expect(meanCurve(cam, 'insertion')).toBeNull();
    expect(meanCurve(cam, 'toString')).toBeNull();
  });

  it('are drawn to scale: 0 to 1 between 80 and 394 across, between 294 and 40 down', () => {
    const { svg, others } = curvesChart('deletion', ['cam', 'gae'], judgements)!;
    expect(others).toBe(1);
    expect(points(svg)).toEqual(['80,103.5 237,198.75 394,262.25', '80,294 237,40 394,294']);
    expect(svg).toContain('>cam</text>');
    expect(curvesChart('insertion', ['cam', 'gae'], judgements)).toBeNull();
  });
});

describe('quality against cost', () => {
  it('has a point for each method that has a mean: seconds on a logarithmic axis', () => {
    const { summary } = sampleReport();
    const costs = [
      { method: 'cam', seconds: 0.01, count: 3 },
      { method: HOSTILE, seconds: 1, count: 3 },
      { method: 'flat', seconds: 2, count: 3 },
    ];
    // Means 0.25 and 0.75: the axis goes from 0.2 to 0.8 in steps of 0.1.
    const svg = costChart('deletion', ['cam', HOSTILE, 'flat'], summary, costs)!;
    const down = (value: number): number => 294 - ((294 - 40) * (value - 0.2)) / 0.6;
    const drawn = circles(svg);
    expect(drawn).toHaveLength(2);
    expect(drawn[0]).toEqual([80, expect.closeTo(down(0.25), 1)]);
    expect(drawn[1]).toEqual([394, expect.closeTo(down(0.75), 1)]);
    expect(costChart('deletion', ['flat'], summary, costs)).toBeNull();
  });

  it('ranks methods by their mean, those without one last', () => {
    const { summary } = sampleReport();
    expect(bestFirst(summary, 'deletion', 'lower').map(({ method }) => method)).toEqual(['cam', HOSTILE, 'flat']);
    expect(bestFirst(summary, 'deletion', 'higher').map(({ method }) => method)).toEqual([HOSTILE, 'cam', 'flat']);
  });
});

describe('the best and the worst pictures', () => {
  const named = (figures: readonly (readonly number[])[], better: 'higher' | 'lower'): string[][] => {
    const { best, worst } = examplesOf(judgedPictures(figures), 'deletion', better);
    return [best, worst].map((some) => some.map(({ picture, target }) => `${picture.image}${target}`));
  };

  it('are ranked by the mean over methods, of those that have a figure', () => {
    // By picture: figures of two methods. Means 0.5, 0.1, 0.9 (of one), none, 0.3, 0.7.
    const figures = [
      [0.4, 0.6],
      [0.2, 0],
      [NaN, 0.9],
      [NaN, NaN],
      [0.3, 0.3],
      [1, 0.4],
    ];
    expect(named(figures, 'lower')).toEqual([
      ['p10', 'p40'],
      ['p20', 'p50'],
    ]);
    expect(named(figures, 'higher')).toEqual([
      ['p20', 'p50'],
      ['p10', 'p40'],
    ]);
  });

  it('are never the same', () => {
    expect(named([[1, 1]], 'higher')).toEqual([['p00'], []]);
    expect(
      named(
        [
          [1, 1],
          [2, 2],
        ],
        'higher',
      ),
    ).toEqual([['p10'], ['p00']]);
    expect(
      named(
        [
          [1, 1],
          [2, 2],
          [3, 3],
        ],
        'higher',
      ),
    ).toEqual([['p20', 'p10'], ['p00']]);
    expect(named([[NaN, NaN]], 'higher')).toEqual([[], []]);
  });
});

describe('overlays', () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
  });
  afterAll(() => model.close());

  it('are those of explain for the class that was judged, drawn once, after a run to warm up', async () => {
    const image = path.join(temporaryFolder(), 'a.png');
    copyFileSync(path.join(ROOT, 'models', 'eval', '000.png'), image);
    const target = { index: 5, label: model.labels[5]!, score: 0 };
    const asked: unknown[] = [];
    const counting = {
      explain: (images: never, options: never): unknown => {
        asked.push(options);
        return model.explain(images, options);
      },
    } as unknown as Pick<Model, 'explain'>;
    const methods = [
      { label: 'cam', asked: 'cam' as const },
      { label: 'sums', asked: { method: 'smooth-grad' as const, samples: 2, label: 'sums' } },
    ];
    const overlays = new Overlays(counting, methods, new AbortController().signal);
    const picture = {
      picture: { image, target: 5, object: null },
      image,
      judgements: methods.map(({ label }) => [{ ...judgement(image, label, {}), target }]),
    };
    const example = { picture, target: 0, judgements: picture.judgements.map(([only]) => only!) };
    await overlays.draw(example);
    await overlays.draw({ ...example });
    expect(asked).toHaveLength(4);
    expect(asked[3]).toMatchObject({ method: 'smooth-grad', samples: 2, targets: [5] });
    expect(asked[3]).not.toHaveProperty('label');
    const [explained] = await model.explain(image, { method: 'cam', targets: [5] });
    const expected = await explained!.maps[0]!.overlay({ width: 448 }).toBuffer({ format: 'webp', quality: 75 });
    expect(overlays.uriOf(example, 0)).toBe(`data:image/webp;base64,${expected.toString('base64')}`);
    expect((await sharp(expected).metadata()).width).toBe(448);
    expect(overlays.costs().map(({ method, count }) => [method, count])).toEqual([
      ['cam', 1],
      ['sums', 1],
    ]);
  });

  it('cost the median of their runs', async () => {
    let clock = 0;
    const pace = [100, 3, 1, 2, 8];
    const fake = {
      explain: () => {
        clock += pace.shift()!;
        return Promise.resolve([
          { maps: [{ overlay: () => ({ toBuffer: () => Promise.resolve(Buffer.from('x')) }) }] },
        ]);
      },
    } as unknown as Pick<Model, 'explain'>;
    const overlays = new Overlays(fake, [{ label: 'cam', asked: 'cam' }], new AbortController().signal, () => clock);
    for (const image of ['a.png', 'b.png', 'c.png', 'd.png']) {
      const judgements = [judgement(image, 'cam', {})];
      const picture = { picture: { image, target: null, object: null }, image, judgements: [judgements] };
      await overlays.draw({ picture, target: 0, judgements });
    }
    // Without the first run, 3, 1, 2 and 8.
    expect(overlays.costs()).toEqual([{ method: 'cam', seconds: 2.5, count: 4 }]);
  });
});

describe('a report', () => {
  const html = reportHtml(sampleReport());

  it('forbids all but its own style and pictures within it', () => {
    const style = /<style>([^]*?)<\/style>/.exec(html)![1]!;
    const hash = createHash('sha256').update(style).digest('base64');
    expect(html).toContain(
      `content="default-src &apos;none&apos;; img-src data:; style-src &apos;sha256-${hash}&apos;; base-uri &apos;none&apos;; form-action &apos;none&apos;"`,
    );
    expect(html).not.toMatch(/<script|<link|style="/i);
    expect([...html.matchAll(/ (?:src|href)="([^"]{0,20})/g)].map(([, to]) => to)).toEqual(
      Array.from({ length: 6 }, () => 'data:image/webp;base'),
    );
  });

  it('has the means, intervals and p values of the summary', () => {
    const rows = [...html.matchAll(/<tr[^>]*>(.*?)<\/tr>/g)].map(([, row]) =>
      [...row!.matchAll(/<t[dh][^>]*>(.*?)<\/t[dh]>/g)].map(([, cell]) => cell!.replace(/<[^>]*>/g, '')),
    );
    const at = rows.findIndex((row) => row.includes('cam'));
    expect(rows[at]).toEqual(['deletionlower is better', 'cam', '0.25', '0.2 to 0.3', 'best', '2', '0']);
    expect(rows[at + 1]!.slice(1)).toEqual(['0.75', '0.7 to 0.8', '0.0123', '2', '0']);
    expect(rows[at + 2]).toEqual(['flat', 'no figure', '', '', '0', '2']);
  });

  it('has every text escaped', () => {
    expect(html).not.toContain('<img src=x');
    expect(html.split('&lt;img src=x onerror=alert(1)&gt;').length).toBeGreaterThan(8);
  });
});
