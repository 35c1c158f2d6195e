import { execFileSync } from 'node:child_process';

import { expect, it } from 'vitest';

import { expectEnding, runChild } from '../lifecycle/child.js';

/** Room for the context's small buffers and a batch of a few images, not for 64 of 512 x 512. */
const BYTES = 600 * 2 ** 20;

/** Bytes of the first GPU; nothing where the driver's tool is not at hand. */
function totalMemory(): number | null {
  try {
    const [mebibytes] = execFileSync('nvidia-smi', ['--query-gpu=memory.total', '--format=csv,noheader,nounits'], {
      encoding: 'utf8',
    }).split('\n');
    return Number(mebibytes) * 2 ** 20;
  } catch {
    return null;
  }
}

const total = totalMemory();

it.skipIf(total === null)(
  'a batch that does not fit onto the GPU is halved, gives the same maps, and is remembered',
  async () => {
    const fraction = (BYTES / total!).toFixed(6);
    const ending = await runChild(new URL('./children/out-of-memory.mjs', import.meta.url), {
      env: { PYTORCH_CUDA_ALLOC_CONF: `per_process_memory_fraction:${fraction}`, NVIDIA_TF32_OVERRIDE: '0' },
    });
    expectEnding(ending, { stages: ['warm', 'end'] });
    const [first, second] = ending.reports as { halved: number; difference: number; reserved: number }[];
    expect(first!.halved).toBeGreaterThan(0);
    expect(first!.difference, 'share of what rounding explains').toBeLessThanOrEqual(1);
    expect(second!.halved).toBe(0);
    expect(second!.difference, 'share of what rounding explains').toBeLessThanOrEqual(1);
    expect(second!.reserved).toBeLessThanOrEqual(BYTES);
  },
);
