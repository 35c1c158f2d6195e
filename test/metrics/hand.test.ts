import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type JudgingMetric, type ObjectPlace } from '../../lib/index.js';
import { fileURLToPath } from 'node:url';

import { plainCard, randomTensor } from '../support/models.js';
import { expectWithin } from '../support/rounding.js';
import { channelSum, fixedMap } from './reference.js';

const [HEIGHT, WIDTH] = [8, 8];

/** 64 values, those named by [row, column], 0 elsewhere. */
function map(...marks: readonly (readonly [row: number, column: number, value: number])[]): number[] {
  const values = Array.from({ length: HEIGHT * WIDTH }, () => 0);
  for (const [row, column, value] of marks) values[row * WIDTH + column] = value;
  return values;
}

let model: Model;
beforeAll(async () => {
  // A network that takes any size; no figure here depends on its scores.
  const archive = fileURLToPath(new URL('../parity/archives/torchvision-resnet-traced.pt', import.meta.url));
  model = await Model.load(archive, { device: 'cpu', card: plainCard(HEIGHT, WIDTH) });
});
afterAll(() => model.close());

/** Two rows and two columns in the upper left corner: 4 of 64 pixels. */
const CORNER: ObjectPlace = { boxes: [{ left: 0, top: 0, width: 2, height: 2 }] };

async function figure(metric: JudgingMetric, values: readonly number[], object: ObjectPlace = CORNER): Promise<number> {
  const { judgements } = await model.evaluate(randomTensor(1, HEIGHT, WIDTH), {
    methods: [{ method: fixedMap(values, HEIGHT, WIDTH), label: 'map' }],
    metrics: [metric],
    objects: [object],
  });
  return Object.values(judgements[0]!.figures)[0]!;
}

/** A figure that is a quotient of sums of at most 64 numbers. */
async function expectFigure(
  metric: JudgingMetric,
  values: readonly number[],
  expected: number,
  object: ObjectPlace = CORNER,
): Promise<void> {
  expectWithin([await figure(metric, values, object)], [expected], 130, Math.max(1, Math.abs(expected)));
}

describe('localization, by hand', () => {
  // 3 on the object, 1 on it, 2 beside it, -5 beside it.
  const values = map([0, 1, 3], [1, 1, 1], [4, 4, 2], [7, 7, -5]);

  it('pointing game', async () => {
    await expectFigure('pointing-game', values, 1);
    await expectFigure('pointing-game', map([5, 5, 1]), 0);
    // Of equal pixels the first counts.
    await expectFigure('pointing-game', map([1, 1, 2], [5, 5, 2]), 1);
    await expectFigure('pointing-game', map([0, 7, 2], [1, 1, 2]), 0);
  });

  it('mass accuracy is of the positive values', async () => {
    await expectFigure('mass-accuracy', values, 4 / 6);
    expect(await figure('mass-accuracy', map([0, 0, -1]))).toBeNaN();
  });

  it('rank accuracy takes as many of the highest pixels as the object has', async () => {
    // The four highest: 3 and 1 on the object, 2 beside it, and of the zeros the first, [0, 0], on it.
    await expectFigure('rank-accuracy', values, 3 / 4);
  });

  it('top-k intersection', async () => {
    await expectFigure({ metric: 'top-k-intersection', pixels: 3 }, values, 2 / 3);
    await expectFigure('top-k-intersection', values, 4 / 64);
  });

  it('localization AUC counts ties half', async () => {
    // 4 x 60 pairs. 3 is above all 60; 1 above all but the 2: 59; two zeros tie with 58 zeros and are above -5: 30
    // each.
    await expectFigure('localization-auc', values, (60 + 59 + 30 + 30) / 240);
    await expectFigure('localization-auc', map([0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]), 1);
    const whole = { boxes: [{ left: 0, top: 0, width: 8, height: 8 }] };
    expect(await figure('localization-auc', values, whole)).toBeNaN();
  });

  it('average precision finds equal pixels together', async () => {
    // Ranked: 3 on the object: 1 of 1. 2 beside it. 1 on it: 2 of 3. All 60 zeros together, two of them on it: 4 of 63.
    await expectFigure('average-precision', values, (1 + 2 / 3 + 2 * (4 / 63)) / 4);
    await expectFigure('average-precision', map([0, 0, 4], [0, 1, 3], [1, 0, 2], [1, 1, 1]), 1);
    // A flat part says no more than chance does.
    await expectFigure('average-precision', map([7, 7, -1]), 4 / 63);
    expect(await figure('average-precision', values, { boxes: [{ left: 0, top: 0, width: 0, height: 0 }] })).toBeNaN();
  });

  it('pixel accuracy counts what is marked on the object and what is not beside it', async () => {
    // Marked from 0 on: the object's 4 are right, and beside it only the -5.
    await expectFigure('pixel-accuracy', values, 5 / 64);
    // Marked: 3 and 2. Right: one of the object, and all beside it but the 2.
    await expectFigure({ metric: 'pixel-accuracy', threshold: 0.8 }, values, (1 + 59) / 64);
  });

  it('intersection over union of the map in [0, 1]', async () => {
    // From -5 to 3: 0 is 0.625, and only -5 is below 0.5; only 3 and 2 are above 0.8.
    await expectFigure('iou', values, 4 / 63);
    await expectFigure({ metric: 'iou', threshold: 0.8 }, values, 1 / 5);
  });

  it('a mask of the picture says the same as boxes', async () => {
    const mask = new Uint8Array(64);
    for (const pixel of [0, 1, 8, 9]) mask[pixel] = 255;
    await expectFigure('mass-accuracy', values, 4 / 6, { data: mask, width: 8, height: 8 });
    await expect(figure('mass-accuracy', values, { data: mask, width: 16, height: 4 })).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('16 x 4 pixels, and the picture 8 x 8') as string,
    });
  });
});

describe('where the object lies in the view', () => {
  /** White in a box, black elsewhere. */
  const picture = (
    width: number,
    height: number,
    box: { left: number; top: number; width: number; height: number },
  ) => ({
    data: Uint8Array.from({ length: 3 * width * height }, (_, i) => {
      const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
      return x >= box.left && x < box.left + box.width && y >= box.top && y < box.top + box.height ? 255 : 0;
    }),
    width,
    height,
    channels: 3 as const,
  });

  // A wide, a high and a small picture: scaled down, cut at the sides, cut above and below, scaled up.
  it.each([
    [640, 400, { left: 210, top: 90, width: 170, height: 200 }],
    [300, 700, { left: 40, top: 260, width: 150, height: 130 }],
    [90, 70, { left: 30, top: 20, width: 31, height: 27 }],
  ])('of a picture of %i x %i is where the model sees it', async (width, height, box) => {
    const real = await Model.load('efficientnet-lite0', { device: 'cpu' });
    try {
      const image = picture(width, height, box);
      const mask = Uint8Array.from({ length: width * height }, (_, i) => image.data[3 * i]!);
      for (const object of [{ boxes: [box] }, { data: mask, width, height }]) {
        const { judgements } = await real.evaluate(image, {
          methods: [{ method: channelSum }],
          metrics: ['iou', 'localization-auc'],
          objects: [object],
        });
        const { iou, 'localization-auc': auc } = judgements[0]!.figures;
        // The edge is blurred over a pixel or so of about a hundred; a shift by three pixels gives 0.94 or less.
        expect(iou).toBeGreaterThan(0.96);
        expect(auc).toBeGreaterThan(0.999);
      }
    } finally {
      await real.close();
    }
  });
});

describe('complexity, by hand', () => {
  it('sparseness is the Gini index', async () => {
    await expectFigure('sparseness', map([3, 3, 7]), 63 / 64);
    // Of 1, 1, 2 and 61 zeros: the sum of (2 i - 65) x_i / (64 * 4), i = 62, 63, 64 in ascending order.
    await expectFigure('sparseness', map([0, 0, 1], [5, 2, -1], [7, 7, 2]), (59 + 61 + 2 * 63) / 256);
  });

  it('complexity is the entropy in nats', async () => {
    await expectFigure('complexity', map([3, 3, 7]), 0);
    await expectFigure('complexity', map([0, 0, 1], [5, 2, -1], [7, 7, 2]), Math.log(2) / 2 + Math.log(4) / 2);
  });

  it('effective complexity counts against the largest value', async () => {
    await expectFigure('effective-complexity', map([0, 0, 1e-7], [1, 1, 1e-5], [2, 2, -1]), 1);
    await expectFigure(
      { metric: 'effective-complexity', threshold: 1e-6 },
      map([0, 0, 1e-7], [1, 1, 1e-5], [2, 2, -1]),
      2,
    );
  });
});

describe('what has no figure', () => {
  it('a flat map marks nothing, whatever the metric', async () => {
    const { judgements } = await model.evaluate(randomTensor(1, HEIGHT, WIDTH), {
      methods: [{ method: fixedMap(map(), HEIGHT, WIDTH), label: 'flat' }],
      metrics: ['deletion', 'pointing-game', 'sparseness'],
      objects: [CORNER],
    });
    expect(judgements[0]).toMatchObject({
      state: 'flat',
      figures: { deletion: NaN, 'pointing-game': NaN, sparseness: NaN },
      curves: {},
    });
  });
});
