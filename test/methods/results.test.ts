import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, SightlineError, type Explanation } from '../../lib/index.js';
import { cardOf, CNN } from '../concurrency/models.js';

describe('results that leave the process or the thread', () => {
  let model: Model;
  let explained: Explanation<string, unknown>;
  beforeAll(async () => {
    model = await Model.load(CNN.path, { device: 'cpu', card: cardOf(CNN) });
    const bytes = await readFile(fileURLToPath(new URL('../images/fixtures/photo-444.jpg', import.meta.url)));
    [explained] = (await model.explain(bytes, { method: 'grad-cam', targets: [0, 1] })) as [Explanation<string, unknown>];
  });
  afterAll(() => model.close());

  it('as JSON hold the values, and not the picture', () => {
    const parsed = JSON.parse(JSON.stringify(explained)) as { maps: Record<string, unknown>[]; predictions: unknown[] };
    expect(parsed.predictions).toEqual(explained.predictions);
    parsed.maps.forEach((map, i) => {
      const { shape, target, layer, min, max, state, data } = explained.maps[i]!;
      expect(map).toMatchObject({ shape: [...shape], target, layer, min, max, state, peak: explained.maps[i]!.peak() });
      expect(Object.keys(map).sort()).toEqual(['data', 'figures', 'layer', 'max', 'min', 'peak', 'shape', 'state', 'target']);
      (map['data'] as number[]).forEach((value, place) => expect(Math.abs(value - data[place]!)).toBeLessThanOrEqual(5.1e-6 * Math.abs(data[place]!)));
    });
    // A map's 4096 values of at most 12 characters, and little else.
    expect(JSON.stringify(explained).length).toBeLessThan(2 * 13 * 64 * 64 + 4000);
  });

  it('can be cloned and posted', () => {
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(explained);
    for (const copy of [structuredClone(explained), (receiveMessageOnPort(port2) as { message: typeof explained }).message]) {
      expect(copy.maps[1]!.data).toEqual(explained.maps[1]!.data);
      expect(copy.maps[1]!.target).toEqual(explained.maps[1]!.target);
      expect(copy).toMatchObject({ image: 'image-0', method: 'grad-cam', options: explained.options, predictions: explained.predictions });
    }
    port1.close();
  });

  it('errors keep their code and sentence', async () => {
    const error = (await model.explain('no/such.jpg', { method: 'grad-cam' }).catch((reason: unknown) => reason)) as SightlineError;
    expect(JSON.parse(JSON.stringify(error))).toEqual({ name: 'SightlineError', code: 'FILE_NOT_FOUND', message: 'There is no file no/such.jpg.', details: {} });
    expect(JSON.parse(JSON.stringify({ error }))).toMatchObject({ error: { code: 'FILE_NOT_FOUND' } });
  });

  it('errors stay sentences, whatever they repeat', () => {
    const { message } = new SightlineError('INVALID_OPTION', `Begin ${'x'.repeat(1e6)} end.`);
    expect(message.length).toBeLessThanOrEqual(2000);
    expect(message).toMatch(/^Begin x.* \.\.\. x.* end\.$/);
  });
});
