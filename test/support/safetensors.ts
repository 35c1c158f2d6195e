import { readFileSync } from 'node:fs';

export interface Reference {
  readonly data: Float32Array | BigInt64Array;
  readonly shape: readonly number[];
}

/** A tensor's values, of whichever type. */
export function numbersOf({ data }: Reference): number[] {
  return Array.from<number | bigint, number>(data, Number);
}

/** The tensors of a safetensors file of float32 and int64: a length, a JSON header, raw little-endian values. */
export function readSafetensors(path: string | URL): Map<string, Reference> {
  const bytes = readFileSync(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, Reference>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [start, end] = entry.data_offsets.map((offset) => offset + 8 + headerLength) as [number, number];
    // Copied, since offsets need not be aligned.
    const raw = bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + end);
    tensors.set(name, {
      shape: entry.shape,
      data: entry.dtype === 'I64' ? new BigInt64Array(raw) : new Float32Array(raw),
    });
  }
  return tensors;
}

/** Largest difference relative to the largest reference value. */
export function relativeDifference(found: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs(found[i]! - expected[i]!));
    scale = Math.max(scale, Math.abs(expected[i]!));
    if (Number.isNaN(found[i])) return NaN;
  }
  return difference / Math.max(scale, 1e-12);
}
