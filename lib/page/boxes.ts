import { inputGeometry } from '../images/geometry.js';
import type { ServedModel } from '../service/about.js';
import type { Box } from './paint.js';

const kept = new WeakMap<ImageBitmap, Map<string, Box>>();

/** The part of a picture that a model sees. The same object each time, so that nothing is drawn twice for it. */
export function boxOf(model: ServedModel, bitmap: ImageBitmap): Box {
  const boxes = kept.get(bitmap) ?? new Map<string, Box>();
  kept.set(bitmap, boxes);
  const box = boxes.get(model.name) ?? inputGeometry(bitmap.width, bitmap.height, model.input).box;
  boxes.set(model.name, box);
  return box;
}
