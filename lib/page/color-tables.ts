import type { Colormap } from '../pictures/colormaps.js';
import { COLORMAP_TABLES } from '../pictures/colormap-tables.js';

/** Colors of signed maps, from against to for: ColorBrewer's RdBu (Apache-2.0), turned round. */
const SIGNED = [
  [5, 48, 97],
  [33, 102, 172],
  [67, 147, 195],
  [146, 197, 222],
  [209, 229, 240],
  [247, 247, 247],
  [253, 219, 199],
  [244, 165, 130],
  [214, 96, 77],
  [178, 24, 43],
  [103, 0, 31],
] as const;

const tables = new Map<string, Uint8Array>();

/** 256 triples of RGB, as the library paints them. */
export function tableOf(name: Colormap | 'signed'): Uint8Array {
  const known = tables.get(name);
  if (known !== undefined) return known;
  const table =
    name === 'signed'
      ? signedTable()
      : Uint8Array.from(atob(COLORMAP_TABLES[name]), (character) => character.charCodeAt(0));
  tables.set(name, table);
  return table;
}

function signedTable(): Uint8Array {
  const table = new Uint8Array(768);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (SIGNED.length - 1);
    const low = Math.min(SIGNED.length - 2, Math.floor(place));
    for (let channel = 0; channel < 3; channel++) {
      const from = SIGNED[low]![channel]!;
      table[3 * i + channel] = Math.round(from + (SIGNED[low + 1]![channel]! - from) * (place - low));
    }
  }
  return table;
}
