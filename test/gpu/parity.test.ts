import { expect, it } from 'vitest';

import { versions } from '../../lib/index.js';
import { describeParity } from '../support/parity.js';

// TensorFloat-32 convolutions, LibTorch's default on CUDA, keep 10 bits of the mantissa: off, so that a wrong kernel
// shows.
process.env['NVIDIA_TF32_OVERRIDE'] = '0';

it('finds a GPU', () => {
  expect(versions().cudaDevices).toBeGreaterThan(0);
});

describeParity('cuda', 1e-4);
