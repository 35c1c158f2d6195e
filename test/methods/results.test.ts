import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, SightlineError, type Explanation, type Predicted } from '../../lib/index.js';
import { cardOf, CNN } from '../concurrency/models.js';
import { pixelsOf } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

describe('results that leave the process or the thread', () => {
  let model: Model;
  let explained: Explanation<string, unknown>;
  beforeAll(async () => {
    model = await Model.load(CNN.path, { device: 'cpu', card: cardOf(CNN) });
    const bytes = await readFile(fileURLToPath(new URL('../images/fixtures/photo-444.jpg', import.meta.url)));
    [explained] = (await model.explain(bytes, { method: 'grad-cam', targets: [0, 1] })) as [
      Explanation<string, unknown>,
    ];
  });
  afterAll(() => model.close());

  it('as JSON hold the values, and not the picture', () => {
    const parsed = JSON.parse(JSON.stringify(explained)) as { maps: Record<string, unknown>[]; predictions: unknown[] };
    expect(parsed.predictions).toEqual(explained.predictions);
    parsed.maps.forEach((map, i) => {
      const { shape, target, layer, min, max, state, data } = explained.maps[i]!;
      expect(map).toMatchObject({ shape: [...shape], target, layer, min, max, state, peak: explained.maps[i]!.peak() });
      expect(Object.keys(map).sort()).toEqual([
        'data',
        'figures',
        'layer',
        'max',
        'min',
        'peak',
        'shape',
        'state',
        'target',
      ]);
      // Six digits: half of the last is at most 5e-6 of the value, and float32 rounds besides.
      (map['data'] as number[]).forEach((value, place) =>
        expect(Math.abs(value - data[place]!)).toBeLessThanOrEqual(5.1e-6 * Math.abs(data[place]!)),
      );
    });
    // A map's 4096 values of at most 12 characters, and little else.
    expect(JSON.stringify(explained).length).toBeLessThan(2 * 13 * 64 * 64 + 4000);
  });

  it('can be cloned and posted', () => {
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(explained);
    for (const copy of [
      structuredClone(explained),
      (receiveMessageOnPort(port2) as { message: typeof explained }).message,
    ]) {
      expect(copy.maps[1]!.data).toEqual(explained.maps[1]!.data);
      expect(copy.maps[1]!.target).toEqual(explained.maps[1]!.target);
      expect(copy).toMatchObject({
        image: 'image-0',
        method: 'grad-cam',
        options: explained.options,
        predictions: explained.predictions,
      });
    }
    port1.close();
  });

  it('list as many of the best classes as are asked for, the first of all of them', async () => {
    const image = fileURLToPath(new URL('../images/fixtures/photo-444.jpg', import.meta.url));
    const [{ predictions: all }] = (await model.predict(image, { top: 7 })) as [Predicted];
    expect(all).toHaveLength(7);
    for (const [top, count] of [
      [1, 1],
      [3, 3],
      [7, 7],
      [1000, 7],
      [undefined, 5],
    ] as const) {
      const [{ predictions }] = (await model.explain(image, { method: 'grad-cam', top })) as [Explanation];
      expect(predictions.map(({ index, label }) => [index, label])).toEqual(
        all.slice(0, count).map(({ index, label }) => [index, label]),
      );
      const scores = (of: readonly { readonly score: number }[]): number[] => of.map(({ score }) => score);
      await expectRounded(scores(predictions), scores(all.slice(0, count)), 'the scores', {
        model,
        again: async (seed) =>
          scores((await model.predict(nudged(await pixelsOf(model, image), seed), { top: count }))[0]!.predictions),
      });
    }
    // Each of several methods its own.
    const [[two, four]] = (await model.explain(image, [
      { method: 'grad-cam', top: 2 },
      { method: 'gradient', top: 4 },
    ])) as unknown as [[Explanation, Explanation]];
    expect([two.predictions.length, four.predictions.length]).toEqual([2, 4]);
    for (const top of [0, 1.5, -1, 1_000_001, '3']) {
      await expect(model.explain(image, { method: 'grad-cam', top: top as number })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringMatching(/top.*whole number from 1 to 1000000/) as string,
      });
    }
  });

  it('errors keep their code and sentence', async () => {
    const error = (await model
      .explain('no/such.jpg', { method: 'grad-cam' })
      .catch((reason: unknown) => reason)) as SightlineError;
    expect(JSON.parse(JSON.stringify(error))).toEqual({
      name: 'SightlineError',
      code: 'FILE_NOT_FOUND',
      message: 'There is no file no/such.jpg.',
      details: {},
    });
    expect(JSON.parse(JSON.stringify({ error }))).toMatchObject({ error: { code: 'FILE_NOT_FOUND' } });
  });

  it('errors stay sentences, whatever they repeat', () => {
    const { message } = new SightlineError('INVALID_OPTION', `Begin ${'x'.repeat(1e6)} end.`);
    expect(message.length).toBeLessThanOrEqual(2000);
    expect(message).toMatch(/^Begin x.* \.\.\. x.* end\.$/);
  });
});
