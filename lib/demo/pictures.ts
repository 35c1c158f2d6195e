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
  readonly objects: readonly { readonly label: string; readonly index: number }[];
  /** Row-major [height, width]: 0 is background, v > 0 is `objects[v - 1]`. */
  readonly mask: Uint8Array;
}

interface Entry {
  readonly file: string;
  readonly mask: string;
  readonly objects: DemoPicture['objects'];
}

/** The pictures of models/demo, in the order of their index. */
export async function readDemoPictures(): Promise<DemoPicture[]> {
  const folder = join(BUNDLED_MODELS, 'demo');
  const index = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')) as Entry[];
  return Promise.all(
    index.map(async ({ file, mask, objects }) => {
      const { data, info } = await sharp(join(folder, mask)).extractChannel(0).raw().toBuffer({ resolveWithObject: true });
      return { file, path: join(folder, file), width: info.width, height: info.height, objects, mask: data };
    }),
  );
}

/** The object at a pixel, or null on the background. */
export function objectAt({ width, objects, mask }: DemoPicture, x: number, y: number): string | null {
  return objects[mask[y * width + x]! - 1]?.label ?? null;
}
