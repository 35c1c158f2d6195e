import { describe, it } from 'vitest';

import { METRIC_NAMES, type EvaluateOptions } from '../../lib/index.js';
import { randomTensor } from '../support/models.js';
import { expectSame, loadBoth, watched } from './device.js';

const [HEIGHT, WIDTH] = [24, 40];
const FEW: Partial<Record<string, object>> = {
  deletion: { steps: 5 },
  insertion: { steps: 5, baseline: { blur: 2 } },
  'pixel-flipping': { steps: 5 },
  monotonicity: { steps: 5 },
  'region-perturbation': { steps: 5 },
  'faithfulness-correlation': { samples: 6, pixels: 40 },
  'faithfulness-estimate': { groups: 6 },
  infidelity: { samples: 4 },
  'max-sensitivity': { samples: 3 },
  'average-sensitivity': { samples: 3 },
  'local-lipschitz': { samples: 3 },
};

describe('metrics', () => {
  it('give on the device what they give on the CPU', async () => {
    const { onCpu, there } = await loadBoth('timm-vit-fused-traced');
    const options = {
      methods: ['grad-cam', 'gae'],
      metrics: METRIC_NAMES.map((metric) => ({ metric, ...FEW[metric] })),
      objects: [0, 1].map((i) => ({ boxes: [{ left: 4 * i, top: 2, width: 12, height: 10 }] })),
      targets: [2],
    } as unknown as EvaluateOptions;
    const images = randomTensor(2, HEIGHT, WIDTH, 9);
    try {
      const expected = (await onCpu.evaluate(images, options)).judgements;
      const { result } = await watched(() => there.evaluate(images as never, options));
      expectSame(result.judgements, expected);
    } finally {
      await Promise.all([onCpu.close(), there.close()]);
    }
  });
});
