import { SightlineError } from '../support/errors.js';
import { suggestion } from '../support/nearest.js';
import { COLORMAP_TABLES } from './colormap-tables.js';

/**
 * Names of the color maps. `turbo`, `viridis` and `inferno` are perceptual; `jet` is here for likeness to older work.
 */
export type Colormap = keyof typeof COLORMAP_TABLES;

/** All color map names, in the order in which help texts list them. */
export const COLORMAPS = Object.keys(COLORMAP_TABLES) as readonly Colormap[];

const decoded = new Map<Colormap, Uint8Array>();

/**
 * The table of a color map: 768 bytes, entry i at [3i, 3i + 3) as R, G, B (sRGB, 0..255); entry 0 is the low end.
 * The same array is handed out each time: do not write into it.
 *
 * @throws SightlineError INVALID_OPTION for a name that is not a color map.
 */
export function colormapTable(name: Colormap): Uint8Array {
  const known = decoded.get(name);
  if (known) return known;
  if (!Object.hasOwn(COLORMAP_TABLES, name)) {
    throw new SightlineError(
      'INVALID_OPTION',
      `There is no color map "${String(name)}". ${suggestion(String(name), COLORMAPS)}`,
    );
  }
  const table = new Uint8Array(Buffer.from(COLORMAP_TABLES[name], 'base64'));
  decoded.set(name, table);
  return table;
}
