import { z } from 'zod';

import { decodeImage, MAX_PIXELS } from '../../images/source.js';
import type { Box } from '../../requests/evaluate/mask.js';
import { SightlineError } from '../../support/errors.js';
import { boxesObject, type BoxNumbers, type LabelledObject } from './labelled-picture.js';
import { boxAround, decompressedRuns, fillPolygon, fillRuns, type Raster } from './raster.js';

const runs = z.object({
  counts: z.union([z.string(), z.array(z.int().nonnegative())]),
  size: z.tuple([z.int().min(1), z.int().min(1)]).refine(([height, width]) => height * width <= MAX_PIXELS, {
    error: `more than ${MAX_PIXELS} pixels`,
  }),
});
const polygon = z
  .array(z.number())
  .min(2)
  .refine((corners) => corners.length % 2 === 0, { error: 'a polygon has an x and a y for each corner' });

/** Polygons, or run lengths, compressed or not. */
export const segmentationSchema = z.union([z.array(polygon), runs]);
type Segmentation = z.infer<typeof segmentationSchema>;

/** An object as COCO describes it: a box, a segmentation, or both. */
export interface CocoObject {
  readonly box: BoxNumbers | null;
  readonly segmentation: Segmentation | null;
}

/** A picture of COCO: its size where the file says it. */
export interface CocoPicture {
  readonly path: string;
  readonly size: readonly [height: number, width: number] | null;
}

export function isPolygons(segmentation: Segmentation): segmentation is number[][] {
  return Array.isArray(segmentation);
}

/** The boxes of objects; of those without, that around their segmentation. */
export function cocoBoxes(objects: readonly CocoObject[], picture: CocoPicture): LabelledObject {
  const known = objects.flatMap(({ box }) => (box === null ? [] : [box]));
  if (known.length === objects.length) return boxesObject(known);
  return {
    said: objects,
    read: async () => {
      const boxes: Box[] = [];
      for (const { box, segmentation } of objects) {
        boxes.push(
          box === null
            ? boxAround(await drawn([segmentation!], picture))
            : { left: box[0], top: box[1], width: box[2], height: box[3] },
        );
      }
      return { boxes };
    },
  };
}

/** All segmentations together; null where an object has none. */
export function cocoMask(objects: readonly CocoObject[], picture: CocoPicture): LabelledObject | null {
  const segmentations: Segmentation[] = [];
  for (const { segmentation } of objects) {
    if (segmentation === null) return null;
    segmentations.push(segmentation);
  }
  return { said: { segmentations }, read: () => drawn(segmentations, picture) };
}

async function drawn(segmentations: readonly Segmentation[], { path, size }: CocoPicture): Promise<Raster> {
  const wrong = (what: string): SightlineError =>
    new SightlineError('INVALID_INPUT', `The segmentation of ${path} ${what}.`);
  const sizes = segmentations.flatMap((each) => (isPolygons(each) ? [] : [each.size]));
  const [height, width] = sizes[0] ?? size ?? (await sizeOf(path));
  const other = sizes.find((each) => each[0] !== height || each[1] !== width);
  if (other !== undefined) throw wrong(`is of ${width} x ${height} pixels and of ${other[1]} x ${other[0]}`);
  if (width * height > MAX_PIXELS) throw wrong(`is of ${width} x ${height} pixels, more than ${MAX_PIXELS}`);
  const raster: Raster = { data: new Uint8Array(width * height), width, height };
  for (const each of segmentations) {
    if (isPolygons(each)) {
      for (const corners of each) fillPolygon(raster, corners);
      continue;
    }
    const counts = typeof each.counts === 'string' ? decompressedRuns(each.counts) : each.counts;
    if (counts === null || !fillRuns(raster, counts)) {
      throw wrong(`has run lengths that do not cover its ${width} x ${height} pixels`);
    }
  }
  // Figures of no object would look like those of a bad map.
  if (!raster.data.includes(1)) throw wrong('covers no pixel');
  return raster;
}

async function sizeOf(path: string): Promise<readonly [height: number, width: number]> {
  const { width, height } = await decodeImage(path, { name: path });
  return [height, width];
}
