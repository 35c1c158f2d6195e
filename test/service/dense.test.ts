import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, expect, it } from 'vitest';

import { Model } from '../../lib/index.js';
import { plainCard } from '../support/models.js';
import { asJson, photo, postJson, serve, type Served } from './support.js';

const LABELS = ['cat', 'dog', 'lamp'];
let model: Model;
let served: Served;
beforeAll(async () => {
  model = await Model.load(fileURLToPath(new URL('../parity/methods/dense-detector.pt', import.meta.url)), {
    device: 'cpu',
    card: {
      ...plainCard(16, 16),
      labels: LABELS,
      dense: { kind: 'boxes', values: 'first', place: 'center', objectness: false },
    },
  });
  served = await serve({ models: { detector: model } });
});
afterAll(async () => {
  await served.stop();
  await model.close();
});

const image = { b64: photo('cat.jpg').toString('base64') };

it('explains boxes by targets in JSON', async () => {
  const targets = [{ box: 3 }, { box: 7, class: 'lamp' }];
  const response = await postJson(`${served.address}/explain`, { image, method: 'gradient', targets, size: 'grid' });
  expect(response.status).toBe(200);
  const [expected] = await model.explain([photo('cat.jpg')], { method: 'gradient', targets, size: 'grid' });
  expect(await response.json()).toMatchObject({
    predictions: [],
    maps: expected!.maps.map(({ data, target }) => asJson({ data: Array.from(data), target })) as object[],
  });
});

it('predicts boxes with their places', async () => {
  const response = await postJson(`${served.address}/v1/models/detector:predict`, { instances: [image] });
  const [expected] = await model.predict([photo('cat.jpg')]);
  expect(expected!.predictions[0]).toHaveProperty('place');
  expect(await response.json()).toEqual({ predictions: [asJson(expected!.predictions)] });
});

it('refuses a box that is not there', async () => {
  const response = await postJson(`${served.address}/explain`, { image, method: 'gradient', targets: [{ box: 16 }] });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ code: 'UNKNOWN_TARGET' });
});
