import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import sharp from 'sharp';

import { BUNDLED_MODELS } from '../models/labels.js';

/** A bundled picture of which it is known what lies where. */
export interface DemoPicture {
  readonly file: string;
  readonly path: string;
  readonly width: number;
  readonly height: number;
  readonly labels: readonly string[];
  /** What lies at a pixel, or null on the background. */
  readonly objectAt: (x: number, y: number) => string | null;
}

interface Shapes {
  readonly file: string;
  readonly mask: string;
  readonly objects: readonly { readonly label: string; readonly index: number }[];
}

interface Photo {
  readonly file: string;
  readonly label: string;
  readonly box: readonly [left: number, top: number, right: number, bottom: number];
}

const DEMO = join(BUNDLED_MODELS, 'demo');
const PHOTOS = join(DEMO, 'photos');

/** The synthetic pictures of models/demo with their masks, in the order of their index. */
export async function readShapes(): Promise<DemoPicture[]> {
  return Promise.all(
    (await readIndex<Shapes>(DEMO)).map(async ({ file, mask, objects }) => {
      // Row-major [height, width]: 0 is background, v > 0 is `objects[v - 1]`.
      const { data, info } = await sharp(join(DEMO, mask))
        .extractChannel(0)
        .raw()
        .toBuffer({ resolveWithObject: true });
      const { width, height } = info;
      return {
        file,
        path: join(DEMO, file),
        width,
        height,
        labels: objects.map(({ label }) => label),
        objectAt: (x, y) => objects[data[y * width + x]! - 1]?.label ?? null,
      };
    }),
  );
}

/** The photos of models/demo/photos with the boxes of their objects. */
export async function readPhotos(): Promise<DemoPicture[]> {
  return Promise.all(
    (await readIndex<Photo>(PHOTOS)).map(async ({ file, label, box: [left, top, right, bottom] }) => {
      const path = join(PHOTOS, file);
      const { width, height } = await sharp(path).metadata();
      return {
        file,
        path,
        width,
        height,
        labels: [label],
        objectAt: (x, y) => (x >= left && x < right && y >= top && y < bottom ? label : null),
      };
    }),
  );
}

async function readIndex<Entry>(folder: string): Promise<Entry[]> {
  return JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as Entry[];
}
