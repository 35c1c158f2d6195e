import type { TensorPart } from '../../lib/engine/weight-plan.js';
import type { SkeletonCard } from '../../lib/models/catalog.js';

export type Values = Map<string, { shape: number[]; values: Float32Array }>;

/** Weights for a skeleton, the same each time: numbers of bfloat16, so that every type of float holds them exactly. */
export function seeded(skeleton: SkeletonCard, classes: number, tokens: number): Values {
  let state = 1;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.round((state / 2 ** 32 - 0.5) * 128) / 256;
  };
  return new Map(
    Object.entries(skeleton.tensors).map(([name, lengths]) => {
      const shape = lengths.map((length) => (length === 'classes' ? classes : length === 'tokens' ? tokens : length));
      return [name, { shape, values: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next) }] as const;
    }),
  );
}

const encode: Record<string, (values: Float32Array) => Buffer> = {
  F32: (values) => Buffer.from(values.slice().buffer),
  F64: (values) => Buffer.from(Float64Array.from(values).buffer),
  BF16: (values) => Buffer.from(Uint16Array.from(new Uint32Array(values.slice().buffer), (bits) => bits >>> 16).buffer),
};

/**
 * The bytes of a checkpoint.
 *
 * @param padding spaces behind the header's JSON, which move the numbers
 */
export function safetensorsOf(values: Values, dtype = 'F32', padding = 0): Buffer {
  let end = 0;
  const parts: Buffer[] = [];
  const header: Record<string, object> = {};
  for (const [key, tensor] of values) {
    const bytes = encode[dtype]!(tensor.values);
    header[key] = { dtype, shape: tensor.shape, data_offsets: [end, (end += bytes.length)] };
    parts.push(bytes);
  }
  const json = Buffer.from(JSON.stringify(header) + ' '.repeat(padding));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...parts]);
}

/** The bytes of a tensor's numbers in the order of its axes, by the place and strides that the reader found. */
export function bytesOf(file: Buffer, { begin, end, shape, strides }: TensorPart): Buffer {
  if (strides === undefined) return file.subarray(begin, end);
  const last = shape.reduce((sum, length, axis) => sum + (length - 1) * strides[axis]!, 0);
  const width = (end - begin) / (last + 1);
  const found: Buffer[] = [];
  const visit = (axis: number, at: number): void => {
    if (axis === shape.length) found.push(file.subarray(at, at + width));
    else for (let i = 0; i < shape[axis]!; i++) visit(axis + 1, at + i * strides[axis]! * width);
  };
  visit(0, begin);
  return Buffer.concat(found);
}
