import type { Tensor } from '../engine/native-types.js';
import type { Plane } from '../pictures/planes.js';
import type { Layout, TokenGrid } from '../engine/inspection.js';

export type TapKind = 'feature' | 'attention' | 'query' | 'key' | 'value';

export interface TapPlanes {
  readonly planes: readonly Plane[];
  /** How many there are; `planes` holds the first of them. */
  readonly total: number;
  /** What one is, in the plural. */
  readonly what: string;
}

/** More channels than this say no more in one picture. */
const MOST = 64;

/** One image's tap (no batch axis) as the planes that a person can look at. */
export function planesOf(tensor: Tensor, kind: TapKind, layout: Layout, tokens: TokenGrid | null): TapPlanes {
  const { shape } = tensor;
  if (kind === 'attention' && shape.length === 4) {
    const heads = shape[1]!;
    return leading(tensor, 'heads and windows', (i) => `window ${Math.floor(i / heads)} head ${i % heads}`);
  }
  if (kind !== 'feature') return leading(tensor, 'heads', (i) => `head ${i}`);
  // Pooled features have one place only: their channels say more side by side.
  const places = layout === 'channels-first' ? shape.slice(-2) : shape.slice(0, -1);
  if (places.every((length) => length === 1)) return folded(tensor);
  if (layout === 'channels-first' && shape.length === 3) return leading(tensor, 'channels', String);
  if (layout === 'channels-last' && shape.length === 3) return trailing(tensor, 0, [shape[0]!, shape[1]!]);
  if (layout === 'tokens' && shape.length === 2) {
    const [count] = shape as readonly [number, number];
    if (tokens && count === tokens.prefix + tokens.height * tokens.width + tokens.suffix) {
      return trailing(tensor, tokens.prefix, [tokens.height, tokens.width]);
    }
    return {
      planes: [
        { data: tensor.data, shape: shape as readonly [number, number], caption: 'tokens down, channels across' },
      ],
      total: 1,
      what: 'arrays',
    };
  }
  return folded(tensor);
}

/** Planes that lie one after the other: the last two axes. */
function leading({ data, shape }: Tensor, what: string, caption: (index: number) => string): TapPlanes {
  const [height, width] = shape.slice(-2) as [number, number];
  const area = height * width;
  const total = data.length / area;
  const planes = Array.from({ length: Math.min(MOST, total) }, (_, i) => ({
    data: data.subarray(i * area, (i + 1) * area),
    shape: [height, width] as const,
    caption: caption(i),
  }));
  return { planes, total, what };
}

/** Planes whose numbers lie interleaved: the last axis counts channels; `skip` places come before the grid. */
function trailing({ data, shape }: Tensor, skip: number, grid: readonly [height: number, width: number]): TapPlanes {
  const channels = shape.at(-1)!;
  const area = grid[0] * grid[1];
  const planes = Array.from({ length: Math.min(MOST, channels) }, (_, channel) => ({
    data: Float32Array.from({ length: area }, (_, i) => data[(skip + i) * channels + channel]!),
    shape: grid,
    caption: String(channel),
  }));
  return { planes, total: channels, what: 'channels' };
}

/** A vector, or axes that sightline does not know: all numbers in rows of equal length, read like text. */
function folded({ data }: Tensor): TapPlanes {
  if (data.length === 0 || data.length > 1 << 16) return { planes: [], total: 0, what: '' };
  let width = Math.min(64, data.length);
  while (data.length % width !== 0) width--;
  return {
    planes: [{ data, shape: [data.length / width, width], caption: `${data.length} numbers, ${width} in a row` }],
    total: 1,
    what: 'arrays',
  };
}
