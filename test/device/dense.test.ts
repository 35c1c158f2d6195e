import { afterAll, beforeAll, it } from 'vitest';

import type { Model } from '../../lib/index.js';
import { randomTensor } from '../support/models.js';
import { expectSame, loadBoth, watched } from './device.js';

let onCpu: Model;
let there: Model;
beforeAll(async () => {
  ({ onCpu, there } = await loadBoth('linear-mask'));
});
afterAll(() => Promise.all([onCpu.close(), there.close()]));

it('masks, whose regions come with the request, are explained as on the CPU', async () => {
  const images = randomTensor(3, 8, 8, 17);
  const targets = [{ mask: 0 }, { mask: 1, point: [3, 4] }, { mask: 0, region: { boxes: [box(1, 5)] } }] as const;
  for (const method of ['gradient', 'occlusion'] as const) {
    const options = { method, targets, raw: true, ...(method === 'occlusion' && { window: 2, stride: 2 }) } as never;
    const expected = await onCpu.explain(images, options);
    const { result } = await watched(() => there.explain(images, options));
    expectSame(result, expected, method);
  }
  const expected = await onCpu.predict(images);
  const { result } = await watched(() => there.predict(images));
  expectSame(result, expected, 'predict');
});

function box(left: number, side: number): object {
  return { left, top: 0, width: side, height: side };
}
