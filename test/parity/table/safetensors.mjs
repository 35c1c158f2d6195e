import { readFileSync } from 'node:fs';

/** The float32 tensors of a safetensors file: name to { data, shape }. */
export function readTensors(path) {
  const bytes = readFileSync(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const { __metadata__: _, ...entries } = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength));
  return new Map(
    Object.entries(entries).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [start, end],
        },
      ]) => {
        if (dtype !== 'F32') throw new Error(`${path}: ${name} is ${dtype}`);
        const at = bytes.byteOffset + 8 + headerLength;
        return [name, { shape, data: new Float32Array(bytes.buffer.slice(at + start, at + end)) }];
      },
    ),
  );
}

/** One row of the first axis. */
export function part({ data, shape }, index) {
  const [count, ...rest] = shape;
  const size = data.length / count;
  return { data: data.subarray(index * size, (index + 1) * size), shape: rest };
}
