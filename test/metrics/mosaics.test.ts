import { describe, expect, it } from 'vitest';

import { Model, mosaics, type LabelledImage, type Mosaic, type MosaicOptions } from '../../lib/index.js';

/** A picture of one color, twice as wide as high. */
const plain = (color: readonly [number, number, number], target: number | string): LabelledImage => ({
  image: { data: Uint8Array.from({ length: 3 * 16 * 8 }, (_, i) => color[i % 3]!), width: 16, height: 8, channels: 3 },
  target,
});
const PICTURES = [
  plain([255, 0, 0], 'red'),
  plain([0, 255, 0], 'green'),
  plain([0, 0, 255], 'blue'),
  plain([9, 9, 9], 'gray'),
  plain([200, 0, 0], 'red'),
];
const COLORS: Readonly<Record<string, readonly number[][]>> = {
  red: [
    [255, 0, 0],
    [200, 0, 0],
  ],
  green: [[0, 255, 0]],
  blue: [[0, 0, 255]],
  gray: [[9, 9, 9]],
};
async function all(options: MosaicOptions = {}, pictures = PICTURES): Promise<Mosaic[]> {
  const made: Mosaic[] = [];
  for await (const mosaic of mosaics(pictures, options)) made.push(mosaic);
  return made;
}

describe('mosaics', () => {
  it('show a class in each cell, where they say it is', async () => {
    const made = await all({ cell: 6, count: 20 });
    expect(made).toHaveLength(20);
    for (const { image, cells } of made) {
      expect([image.width, image.height, image.data.length]).toEqual([12, 12, 3 * 144]);
      expect(cells.map(({ target }) => String(target)).sort()).toEqual(['blue', 'gray', 'green', 'red']);
      for (const { target, object } of cells) {
        const [box] = (object as { boxes: { left: number; top: number; width: number; height: number }[] }).boxes;
        const { left, top, width, height } = box!;
        const colors = new Set<string>();
        for (let y = top; y < top + height; y++) {
          for (let x = left; x < left + width; x++) {
            colors.add(String([...image.data.subarray(3 * (y * 12 + x), 3 * (y * 12 + x) + 3)]));
          }
        }
        expect(colors.size).toBe(1);
        expect(COLORS[target]!.map(String)).toContain([...colors][0]);
      }
    }
    // Drawn: places and pictures differ.
    expect(new Set(made.map(({ cells }) => cells.map(({ target }) => target).join())).size).toBeGreaterThan(5);
    expect(new Set(made.map(({ image }) => [...image.data].includes(200))).size).toBe(2);
  });

  it('are the same for the same seed, and as many as show each picture once', async () => {
    expect(await all({ cell: 4, seed: 3 })).toEqual(await all({ cell: 4, seed: 3 }));
    expect(await all({ cell: 4 })).toHaveLength(1);
    expect(await all({ cell: 4 }, [...PICTURES, ...PICTURES])).toHaveLength(2);
  });

  it('make the grid pointing game of mass accuracy', async () => {
    await using model = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
    const [mosaic] = await all({ cell: 112 }, PICTURES.map((picture, target) => ({ ...picture, target })).slice(0, 4));
    const { image, cells } = mosaic!;
    const { judgements } = await model.evaluate(
      cells.map(() => image),
      {
        methods: ['layer-cam'],
        metrics: ['mass-accuracy'],
        targets: cells.map(({ target }) => [target]),
        objects: cells.map(({ object }) => object),
      },
    );
    const [explained] = await model.explain(image, {
      method: 'layer-cam',
      targets: cells.map(({ target }) => target),
      raw: true,
      size: 'image',
    });
    // The whole picture is seen at its own size; a cell is a quarter of the map.
    cells.forEach((_, at) => {
      const { data } = explained!.maps[at]!;
      let [inside, total] = [0, 0];
      data.forEach((value, i) => {
        const positive = Math.max(0, value);
        total += positive;
        const cell = (Math.floor(i / 224) >= 112 ? 2 : 0) + (i % 224 >= 112 ? 1 : 0);
        if (cell === at) inside += positive;
      });
      expect(judgements[at]!.figures['mass-accuracy']).toBeCloseTo(inside / total, 4);
    });
  });

  it.each([
    [{ grid: 3 }, 'shows 9 classes, and the pictures are of 4'],
    [{ grid: 1 }, 'grid'],
    [{ cell: 0.5 }, 'cell'],
  ])('refuse %j', async (options, text) => {
    await expect(all(options)).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining(text) as string,
    });
  });

  it.each([[null], [[null]], [[{ image: 'a.jpg' }]], [3]])('refuse %j as pictures', async (pictures) => {
    await expect(all({}, pictures as unknown as LabelledImage[])).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });
});
