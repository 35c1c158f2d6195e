/** Attention between tokens, read as maps over the patches. */
import type { Attention } from './api.js';
import type { MapValues } from './paint.js';

/** The token that stands for a patch, or for the whole picture. */
export function tokenOf({ grid }: Attention, patch: number | null): number {
  return patch === null ? (grid.classToken ?? grid.prefix) : grid.prefix + patch;
}

/** What a token attends to: its row, of one head or the mean of all. */
export const attendsTo = (rows: Attention, token: number, head: number | null): MapValues =>
  overPatches(rows, head, (data, at, columns) => data[token * columns + at]!);

/** Who attends to a token: its column. */
export const attendedBy = (rows: Attention, token: number, head: number | null): MapValues =>
  overPatches(rows, head, (data, at, columns) => data[at * columns + token]!);

function overPatches(
  rows: Attention,
  head: number | null,
  read: (data: Float32Array, token: number, columns: number) => number,
): MapValues {
  const { height, width, prefix } = rows.grid;
  const heads = head === null ? rows.values : [rows.values[head]!];
  const data = new Float32Array(height * width);
  for (const { data: values, shape } of heads) {
    for (let i = 0; i < data.length; i++) data[i]! += read(values, prefix + i, shape[1]) / heads.length;
  }
  return { data, shape: [height, width] };
}

/** The share of a token's attention that goes to no patch. */
export function elsewhere(rows: Attention, token: number, head: number | null): number {
  const { data } = attendsTo(rows, token, head);
  return Math.max(0, 1 - data.reduce((sum, value) => sum + value, 0));
}
