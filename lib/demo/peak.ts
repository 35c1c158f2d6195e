import { regionOf } from '../cli/words.js';
import type { HeatMap } from '../requests/heatmap.js';
import type { ModelInput } from '../models/card.js';
import { inputGeometry } from '../images/geometry.js';
import type { DemoPicture } from './pictures.js';

/** Where a map peaks in its picture, and on what. */
export function peakOf(
  map: HeatMap,
  picture: DemoPicture,
  input: ModelInput,
): { object: string | null; words: string } {
  if (map.state !== 'ok') return { object: null, words: 'points at nothing' };
  const { width, height } = picture;
  const { box } = inputGeometry(width, height, input);
  const { row, column } = map.peak();
  const [rows, columns] = map.shape;
  const x = Math.min(width - 1, Math.max(0, Math.floor(box.left + ((column + 0.5) * box.width) / columns)));
  const y = Math.min(height - 1, Math.max(0, Math.floor(box.top + ((row + 0.5) * box.height) / rows)));
  const object = picture.objectAt(x, y);
  return {
    object,
    words: `peaks at x ${x}, y ${y}, ${regionOf(x + 0.5, y + 0.5, width, height)}, on ${object === null ? 'the background' : `the ${object}`}`,
  };
}
