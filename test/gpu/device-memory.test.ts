import { expect, it } from 'vitest';

import { deviceMemory, type DeviceMemory } from '../../lib/index.js';
import { loadSmall, randomTensor } from '../support/models.js';

it('tells what is allocated, at most and now, and has it back when the model is closed', async () => {
  expect(deviceMemory('cpu')).toBeNull();
  const use = async (): Promise<{ loaded: DeviceMemory; used: DeviceMemory; closed: DeviceMemory }> => {
    const model = await loadSmall('timm-resnet-traced', { device: 'cuda' });
    const loaded = deviceMemory('cuda:0', { resetPeak: true })!;
    expect(loaded.allocated).toBeGreaterThanOrEqual(model.weightBytes);
    expect(loaded.peak).toBeGreaterThanOrEqual(loaded.allocated);
    expect(loaded.reserved).toBeGreaterThanOrEqual(loaded.allocated);
    await model.explain(randomTensor(8, 256, 256), { method: 'grad-cam', targets: [1] });
    const used = deviceMemory('cuda:0', { resetPeak: true })!;
    await model.close();
    return { loaded, used, closed: deviceMemory('cuda:0')! };
  };
  const first = await use();
  // The images alone, twice: as they came and as a batch.
  expect(first.used.peak - first.loaded.allocated).toBeGreaterThan(8 * 3 * 256 * 256 * 4);
  expect(first.closed.peak).toBeLessThan(first.used.peak);
  // What LibTorch's libraries keep for themselves is there after the first model; a second one leaves nothing more.
  const second = await use();
  expect(second.loaded.allocated).toBeGreaterThan(first.closed.allocated);
  expect(second.closed.allocated).toBe(first.closed.allocated);
});

it('refuses a device that is not there', () => {
  expect(() => deviceMemory('cuda:99')).toThrow(expect.objectContaining({ code: 'DEVICE_UNAVAILABLE' }));
});
