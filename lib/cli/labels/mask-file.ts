import { decodeImage } from '../../images/source.js';
import { cut } from '../../support/cut.js';
import { SightlineError } from '../../support/errors.js';
import type { LabelledObject } from './labelled-picture.js';

/** A color of a mask's pixels: red, green, blue, each 0 to 255. */
export type Color = readonly [red: number, green: number, blue: number];

/** A mask of a file that is not black on the object; with colors it has one of them there. */
export function maskFileObject(file: string, colors: readonly Color[] | null): LabelledObject {
  return {
    said: { mask: file, colors },
    file,
    read: async () => {
      const { data, width, height } = await decodeImage(file, { name: file });
      const wanted =
        colors === null ? null : new Set(colors.map(([red, green, blue]) => (red << 16) | (green << 8) | blue));
      const mask = new Uint8Array(width * height);
      let isThere = false;
      for (let i = 0; i < mask.length; i++) {
        const color = (data[3 * i]! << 16) | (data[3 * i + 1]! << 8) | data[3 * i + 2]!;
        if (wanted === null ? color === 0 : !wanted.has(color)) continue;
        mask[i] = 1;
        isThere = true;
      }
      if (isThere) return { data: mask, width, height };
      // A mask of another coding would give figures as if there were no object.
      const looked =
        colors === null ? 'that is not black' : `of ${colors.map((color) => `rgb(${color.join(', ')})`).join(' or ')}`;
      throw new SightlineError('INVALID_INPUT', `The mask ${cut(file)} has no pixel ${looked}, so it shows no object.`);
    },
  };
}
