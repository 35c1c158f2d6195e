/** Full-size networks without a download: the graphs that ship, with random weights. Time does not depend on them. */
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';

const MODELS = new URL('../../models/', import.meta.url);

/** @param {string} name of a catalog card @param {string} folder @returns {string} the checkpoint's path */
export function writeCheckpoint(name, folder) {
  const card = JSON.parse(readFileSync(new URL(`catalogue/${name}.json`, MODELS), 'utf8'));
  const skeleton = JSON.parse(readFileSync(new URL(`skeletons/${card.architecture}.json`, MODELS), 'utf8'));
  const { width, height } = card.input;
  const classes = 1000;
  // Patches and one class token, where there are any.
  const tokens = (width / 16) * (height / 16) + 1;
  /** @type {Record<string, object>} */
  const header = {};
  /** @type {{ name: string, shape: number[], count: number }[]} */
  const tensors = [];
  let end = 0;
  for (const [tensor, lengths] of Object.entries(
    /** @type {Record<string, (number | string)[]>} */ (skeleton.tensors),
  )) {
    const shape = lengths.map((length) =>
      length === 'classes' ? classes : length === 'tokens' ? tokens : Number(length),
    );
    const count = shape.reduce((product, length) => product * length, 1);
    header[tensor] = { dtype: 'F32', shape, data_offsets: [end, (end += 4 * count)] };
    tensors.push({ name: tensor, shape, count });
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.alloc((64 - ((8 + json.length) % 64)) % 64, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const file = path.join(folder, `${name}.safetensors`);
  const handle = openSync(file, 'w');
  writeSync(handle, length);
  writeSync(handle, padded);
  for (const tensor of tensors) writeSync(handle, new Uint8Array(valuesOf(tensor).buffer));
  closeSync(handle);
  const { weights: _, ...own } = card;
  writeFileSync(path.join(folder, `${name}.json`), JSON.stringify({ ...own, labels: undefined }));
  return file;
}

/**
 * Small where many are summed, ones for scales and variances, zeros for the rest: activations keep their size.
 * @param {{ name: string, shape: number[], count: number }} tensor
 */
function valuesOf({ name, shape, count }) {
  const values = new Float32Array(count);
  if (shape.length < 2) return values.fill(/weight$|running_var$|gamma/.test(name) ? 1 : 0);
  const bound = Math.sqrt(3 / (count / (shape[0] ?? 1)));
  let state = 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    values[i] = (state / 2 ** 31) * bound;
  }
  return values;
}
