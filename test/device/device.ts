import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { expect } from 'vitest';

import { versions, type LoadOptions, type Model } from '../../lib/index.js';
import { relativeDifference } from '../support/safetensors.js';
import { loadSmall } from '../support/models.js';

/** What the emulated device saw since `reset`. */
export interface Waits {
  /** By operator: values that the host asked for in the middle of a run. */
  readonly readBacks: Readonly<Record<string, number>>;
  /** By type and shape: copies to the device that the host waited for. */
  readonly uploads: Readonly<Record<string, number>>;
  /** Uses of memory that nothing has put after another stream's. */
  readonly faults: readonly string[];
}

interface Emulated {
  waits(): Waits;
  reset(): void;
  /** Most bytes in tensors on each device; null for no limit. */
  limitMemory(bytes: number | null): void;
}

type Devices = readonly [string, ...string[]];

/** `npm run test:gpu` runs these suites on the GPUs that there are, to rounding. */
export const IS_GPU = process.env['SIGHTLINE_GPU'] === '1';

/**
 * The emulated accelerator, beside the addon that any user has: LibTorch's place for third parties is filled by an
 * addon of the tests. Null on a GPU.
 */
export const emulated: Emulated | null = IS_GPU ? null : loadEmulated();

function loadEmulated(): Emulated {
  const file = fileURLToPath(new URL('../../build/emulated-device.node', import.meta.url));
  if (!existsSync(file)) throw new Error(`${file} is missing: run node scripts/build-native.mjs --tests.`);
  // Our addon first: it has LibTorch in the process by then.
  versions();
  return createRequire(import.meta.url)(file) as Emulated;
}

/** Two emulated devices, or all GPUs. */
export const DEVICES: Devices = IS_GPU
  ? (Array.from({ length: Math.max(1, versions().cudaDevices) }, (_, i) => `cuda:${i}`) as unknown as Devices)
  : ['emulated:0', 'emulated:1'];

/** As `device` of `Model.load`. */
export const asDevice = (names: string | readonly string[]): LoadOptions['device'] => names as LoadOptions['device'];

/** One archive on the CPU and on the device, operator for operator as it was exported: the CPU is tuned by itself. */
export async function loadBoth(
  archive: string,
  options: LoadOptions = {},
  load: (name: string, options: LoadOptions) => Promise<Model> = loadSmall,
): Promise<{ onCpu: Model; there: Model }> {
  const settings: LoadOptions = { optimize: false, maxBatch: 8, ...options };
  const onCpu = await load(archive, { ...settings, device: 'cpu' });
  const there = await load(archive, { ...settings, device: asDevice(DEVICES[0]) });
  expect([onCpu.device, there.device]).toEqual(['cpu', DEVICES[0]]);
  return { onCpu, there };
}

const TOLERANCE = 1e-3;

/** Compares two answers field by field: to the bit on the emulated device, to rounding on a GPU. */
export function expectSame(found: unknown, expected: unknown, place = 'answer'): void {
  if (expected instanceof Float32Array) {
    const values = found as Float32Array;
    expect(values, place).toBeInstanceOf(Float32Array);
    expect(values.length, place).toBe(expected.length);
    if (IS_GPU) {
      expect(relativeDifference(values, expected), place).toBeLessThan(TOLERANCE);
    } else {
      const bits = (of: Float32Array): Buffer => Buffer.from(of.buffer, of.byteOffset, of.byteLength);
      const difference = relativeDifference(values, expected);
      expect(bits(values).equals(bits(expected)), `${place} differs by ${difference}`).toBe(true);
    }
  } else if (typeof expected === 'number') {
    if (IS_GPU) {
      expect(Math.abs((found as number) - expected), place).toBeLessThan(TOLERANCE * (1 + Math.abs(expected)));
    } else expect(found, place).toBe(expected);
  } else if (typeof expected === 'object' && expected !== null) {
    const names = Object.keys(expected);
    expect(Object.keys(found as object), place).toEqual(names);
    for (const name of names) {
      // On a GPU, as many samples may run at once as there is room for.
      if (IS_GPU && name === 'chunk') continue;
      expectSame((found as never)[name], (expected as never)[name], `${place}.${name}`);
    }
  } else {
    expect(found, place).toBe(expected);
  }
}

/** Runs `work`, in which no stream may use what it has not waited for; says what the host waited for. */
export async function watched<Result>(work: () => Promise<Result>): Promise<{ result: Result; waits: Waits | null }> {
  emulated?.reset();
  const result = await work();
  const waits = emulated?.waits() ?? null;
  expect(waits?.faults ?? []).toEqual([]);
  return { result, waits };
}
