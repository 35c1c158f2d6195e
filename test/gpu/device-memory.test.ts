import { expect, it } from 'vitest';

import { deviceMemory } from '../../lib/index.js';
import { loadSmall, randomTensor } from '../support/models.js';

it('tells what is allocated, at most and now, and gives it back when the model is closed', async () => {
  expect(deviceMemory('cpu')).toBeNull();
  const model = await loadSmall('timm-resnet-traced', { device: 'cuda' });
  const loaded = deviceMemory('cuda:0', { resetPeak: true })!;
  expect(loaded.allocated).toBeGreaterThanOrEqual(model.weightBytes);
  expect(loaded.peak).toBeGreaterThanOrEqual(loaded.allocated);
  expect(loaded.reserved).toBeGreaterThanOrEqual(loaded.allocated);
  await model.explain(randomTensor(8, 256, 256), { method: 'grad-cam', targets: [1] });
  const used = deviceMemory('cuda:0', { resetPeak: true })!;
  // The images alone, twice: as they came and as a batch.
  expect(used.peak - loaded.allocated).toBeGreaterThan(8 * 3 * 256 * 256 * 4);
  expect(deviceMemory('cuda:0')!.peak).toBeLessThan(used.peak);
  await model.close();
  expect(deviceMemory('cuda:0')!.allocated).toBeLessThan(loaded.allocated);
});

it('refuses a device that is not there', () => {
  expect(() => deviceMemory('cuda:99')).toThrow(expect.objectContaining({ code: 'DEVICE_UNAVAILABLE' }));
});
