import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { JudgingMetric, Judgement, Model } from '../../lib/index.js';
import { loadSmall, randomTensor } from '../support/models.js';
import { expectRounded, nudged, type Pixels } from '../support/rounding.js';
import {
  channelSum,
  correlation,
  fromLargest,
  imageAt,
  scoresOf,
  shownOn,
  sumOfChannels,
  trapezoid,
} from './reference.js';

const [HEIGHT, WIDTH, TARGET] = [24, 40, 3];
const PIXELS = HEIGHT * WIDTH;
const images = randomTensor(2, HEIGHT, WIDTH, 5);

let model: Model;
beforeAll(async () => {
  model = await loadSmall('timm-vit-fused-traced');
});
afterAll(() => model.close());

const evaluate = async (metric: JudgingMetric, of: Pixels = images): Promise<readonly Judgement[]> =>
  (await model.evaluate(of, { methods: [{ method: channelSum }], metrics: [metric], targets: [TARGET] })).judgements;

type Kind = 'probability' | 'logit' | 'top1';
const scores = (seen: readonly Float32Array[], kind: Kind): Promise<number[]> =>
  scoresOf(model, seen, HEIGHT, WIDTH, TARGET, kind);

/** Compares a metric with what plain predictions of perturbed images make of it. */
async function expectFigures(
  metric: JudgingMetric,
  reference: (image: Float32Array) => Promise<number>,
  of: Pixels = images,
): Promise<void> {
  const label = typeof metric === 'string' ? metric : (metric.metric as string);
  const figures = async (pixels: Pixels): Promise<number[]> =>
    (await evaluate(metric, pixels)).map((each) => each.figures[label]!);
  const count = of.shape[0]!;
  const expected = await Promise.all(Array.from({ length: count }, (_, i) => reference(imageAt(of, i))));
  await expectRounded(await figures(of), expected, label, {
    model,
    again: async (seed) => figures(nudged(of, seed)),
  });
}

const zero = (): number => 0;
/** Steps of ceil(last / steps), the last one as small as it must be. */
const even = (steps: number, last: number): number[] => {
  const size = Math.ceil(last / steps);
  return [...Array.from({ length: Math.ceil(last / size) }, (_, i) => i * size), last];
};

async function curveOf(
  image: Float32Array,
  counts: readonly number[],
  order: readonly number[],
  turn: 'hide' | 'show',
  kind: Kind,
  baseline: (place: number) => number = zero,
): Promise<number[]> {
  const seen = counts.map((count) => {
    const had = new Set(order.slice(0, count));
    return shownOn(image, (pixel) => had.has(pixel) === (turn === 'show'), baseline);
  });
  return scores(seen, kind);
}

describe('curves over pixels', () => {
  it('deletion takes the highest pixels away first', async () => {
    // 960 pixels by 22: the last step is of 24.
    const counts = even(44, PIXELS);
    await expectFigures({ metric: 'deletion', steps: 44 }, async (image) =>
      trapezoid(await curveOf(image, counts, fromLargest(sumOfChannels(image)), 'hide', 'probability'), counts),
    );
  });

  it('deletion has its curve beside the figure, from the whole image to the baseline', async () => {
    const [{ curves }] = (await evaluate({ metric: 'deletion', steps: 6 })) as [Judgement];
    const { shares, scores: along } = curves['deletion']!;
    expect(Array.from(shares)).toEqual([0, 160, 320, 480, 640, 800, 960].map((count) => Math.fround(count / 960)));
    const image = imageAt(images, 0);
    const ends = await scores([image, image.map(zero)], 'probability');
    await expectRounded([along[0]!, along.at(-1)!], ends, 'ends', {
      model,
      again: async (seed) => {
        const moved = imageAt(nudged(images, seed), 0);
        return scores([moved, moved.map(zero)], 'probability');
      },
    });
  });

  it('insertion shows the highest pixels first, on zeros as torch-cam has it', async () => {
    const counts = even(20, PIXELS);
    await expectFigures({ metric: 'insertion', compat: 'torch-cam' }, async (image) =>
      trapezoid(await curveOf(image, counts, fromLargest(sumOfChannels(image)), 'show', 'probability'), counts),
    );
  });

  it('more steps than pixels are as many as pixels', async () => {
    const [{ curves }] = (await evaluate({ metric: 'deletion', steps: 5000 })) as [Judgement];
    expect(curves['deletion']!.scores).toHaveLength(PIXELS + 1);
  });

  it('positive perturbation asks whether the class is still predicted, at 0 to 90 %', async () => {
    const shares = Array.from({ length: 10 }, (_, i) => i / 10);
    const counts = shares.map((share) => Math.trunc(PIXELS * share));
    // The plain card has mean 0 and deviation 1, so black is 0.
    for (const score of ['top1', 'probability'] as const) {
      await expectFigures({ metric: 'positive-perturbation', score }, async (image) =>
        trapezoid(await curveOf(image, counts, fromLargest(sumOfChannels(image)), 'hide', score), shares),
      );
      await expectFigures({ metric: 'negative-perturbation', score }, async (image) =>
        trapezoid(await curveOf(image, counts, fromLargest(sumOfChannels(image)).reverse(), 'hide', score), shares),
      );
    }
  });

  it('pixel flipping reads the logit', async () => {
    const counts = even(32, PIXELS);
    await expectFigures({ metric: 'pixel-flipping', steps: 32, baseline: 0.25 }, async (image) =>
      trapezoid(await curveOf(image, counts, fromLargest(sumOfChannels(image)), 'hide', 'logit', () => 0.25), counts),
    );
  });

  it('monotonicity counts the steps at which the score does not fall', async () => {
    const counts = even(24, PIXELS);
    await expectFigures({ metric: 'monotonicity', steps: 24 }, async (image) => {
      const curve = await curveOf(image, counts, fromLargest(sumOfChannels(image)).reverse(), 'show', 'probability');
      return curve.slice(1).filter((score, i) => score >= curve[i]!).length / 24;
    });
  });
});

describe('curves over regions', () => {
  /** The pixels of 8 x 8 regions, from the highest mean of the map down. */
  const regionsOf = (image: Float32Array): number[][] => {
    const map = sumOfChannels(image);
    const pixelsOfRegion = Array.from({ length: 15 }, (_, region) =>
      Array.from({ length: 64 }, (_, i) => {
        const [row, column] = [Math.floor(region / 5) * 8 + (i >> 3), (region % 5) * 8 + (i & 7)];
        return row * WIDTH + column;
      }),
    );
    const means = pixelsOfRegion.map((pixels) => pixels.reduce((sum, pixel) => sum + map[pixel]!, 0) / 64);
    return fromLargest(means).map((region) => pixelsOfRegion[region]!);
  };

  it('region perturbation is the mean fall of the score', async () => {
    await expectFigures({ metric: 'region-perturbation', steps: 9, score: 'logit' }, async (image) => {
      const regions = regionsOf(image);
      const counts = Array.from({ length: 10 }, (_, i) => 64 * i);
      const curve = await curveOf(image, counts, regions.flat(), 'hide', 'logit');
      return curve[0]! - curve.reduce((sum, score) => sum + score, 0) / 10;
    });
  });

  it('selectivity is the area over all regions', async () => {
    const counts = Array.from({ length: 16 }, (_, i) => 64 * i);
    await expectFigures('selectivity', async (image) =>
      trapezoid(await curveOf(image, counts, regionsOf(image).flat(), 'hide', 'probability'), counts),
    );
  });

  it('regions that do not divide the image are refused', async () => {
    await expect(evaluate({ metric: 'selectivity', region: 7 })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining('24 x 40 pixels into regions of 7 x 7') as string,
    });
  });
});

describe('one masked run', () => {
  /** The image times its map in [0, 1]. */
  const faded = (image: Float32Array): Float32Array => {
    const map = sumOfChannels(image);
    const [low, high] = [map.reduce((a, b) => Math.min(a, b)), map.reduce((a, b) => Math.max(a, b))];
    return image.map((value, place) => value * ((map[place % PIXELS]! - low) / (high - low)));
  };
  const pair = async (image: Float32Array): Promise<[whole: number, kept: number]> =>
    (await scores([image, faded(image)], 'probability')) as [number, number];
  // Images of which some rise and some fall, so that no figure is always 0.
  const several = randomTensor(8, HEIGHT, WIDTH, 11);

  it('average drop, increase in confidence and average gain', async () => {
    const rises: boolean[] = [];
    await expectFigures(
      'average-drop',
      async (image) => {
        const [whole, kept] = await pair(image);
        rises.push(kept > whole);
        return Math.max(0, whole - kept) / whole;
      },
      several,
    );
    expect(new Set(rises).size, 'images of which the score rises, and of which it falls').toBe(2);
    await expectFigures(
      'increase-in-confidence',
      async (image) => (([whole, kept]) => (kept > whole ? 1 : 0))(await pair(image)),
      several,
    );
    await expectFigures(
      'average-gain',
      async (image) => {
        const [whole, kept] = await pair(image);
        return Math.max(0, kept - whole) / (1 - whole);
      },
      several,
    );
  });
});

describe('correlations', () => {
  it('faithfulness estimate replaces one group at a time', async () => {
    await expectFigures({ metric: 'faithfulness-estimate', groups: 20 }, async (image) => {
      const map = sumOfChannels(image);
      const order = fromLargest(map);
      const groups = Array.from({ length: 20 }, (_, i) => order.slice(48 * i, 48 * (i + 1)));
      const seen = groups.map((group) => {
        const hidden = new Set(group);
        return shownOn(image, (pixel) => !hidden.has(pixel), zero);
      });
      const [whole, ...parts] = (await scores([image, ...seen], 'logit')) as [number, ...number[]];
      const sums = groups.map((group) => group.reduce((sum, pixel) => sum + map[pixel]!, 0));
      return correlation(
        sums,
        parts.map((part) => whole - part),
      );
    });
  });
});
