import { readFile } from 'node:fs/promises';

import { describe, expect, it } from 'vitest';

import { defaultCard } from '../../lib/models/card.js';
import { inputGeometry } from '../../lib/images/geometry.js';

const base = defaultCard('x.pt').input;

describe('inputGeometry', () => {
  it('resizes and crops as torchvision does, to the pixel', async () => {
    const rows: number[][] = JSON.parse(await readFile(new URL('./geometry.json', import.meta.url), 'utf8'));
    expect(rows.length).toBeGreaterThan(400);
    for (const [width, height, shorter, cropWidth, cropHeight, ...peer] of rows as [
      number,
      number,
      number,
      number,
      number,
      ...number[],
    ][]) {
      const input = {
        ...base,
        width: cropWidth,
        height: cropHeight,
        resize: { mode: 'shorter-side' as const, size: shorter },
      };
      const { resized, crop } = inputGeometry(width, height, input);
      expect(
        [resized.width, resized.height, crop.left, crop.top],
        `${width}x${height} to ${shorter}, crop ${cropWidth}x${cropHeight}`,
      ).toEqual(peer);
    }
  });

  it('sends half offsets to the even neighbour', () => {
    // 249 - 224 = 25, so the offset is 12.5, and Python rounds to 12; 251 - 224 = 27 gives 13.5, so 14.
    const at = (size: number) => inputGeometry(300, 300, { ...base, resize: { mode: 'shorter-side', size } }).crop.left;
    expect([at(249), at(251)]).toEqual([12, 14]);
  });

  it('gives the crop in pixels of the original', () => {
    // 500 x 375 becomes 341 x 256; the crop at (58, 16) of 224 pixels is scaled back by 500/341 and 375/256.
    const { box } = inputGeometry(500, 375, base);
    expect(box.left).toBeCloseTo((58 * 500) / 341, 10);
    expect(box.top).toBeCloseTo((16 * 375) / 256, 10);
    expect(box.width).toBeCloseTo((224 * 500) / 341, 10);
    expect(box.height).toBeCloseTo((224 * 375) / 256, 10);
  });

  it('covers the whole image with an exact resize and no crop', () => {
    const exact = inputGeometry(640, 480, { ...base, resize: { mode: 'exact', size: [224, 224] }, crop: 'none' });
    expect(exact.resized).toEqual({ width: 224, height: 224 });
    expect(exact.box).toEqual({ left: 0, top: 0, width: 640, height: 480 });
  });

  it('refuses what cannot be resized', () => {
    expect(() => inputGeometry(0, 10, base)).toThrow(expect.objectContaining({ code: 'INVALID_IMAGE' }));
    expect(() => inputGeometry(1, 200_000, base)).toThrow(
      expect.objectContaining({ code: 'INVALID_IMAGE', message: expect.stringContaining('256 x 51200000') }),
    );
    expect(() => inputGeometry(300, 300, { ...base, resize: { mode: 'exact', size: 200 } })).toThrow(
      expect.objectContaining({
        code: 'INVALID_CARD',
        message:
          "The card resizes an image of 300 x 300 to 200 x 200, which does not fill the model's input of 224 x 224.",
      }),
    );
    expect(() => inputGeometry(300, 400, { ...base, crop: 'none' })).toThrow(
      expect.objectContaining({ code: 'INVALID_CARD' }),
    );
  });
});
