import path from 'node:path';

import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { decompressedRuns } from '../../lib/cli/labels/raster.js';
import { readLabels } from '../../lib/cli/labels/read-labels.js';
import { fileOf, said } from './labels.js';

describe('segmentations of COCO', () => {
  const coco = (size: object, ...annotations: object[]): object => ({
    images: [{ id: 1, file_name: 'a.jpg', ...size }],
    categories: [
      { id: 1, name: 'dog' },
      { id: 2, name: 'cat' },
    ],
    annotations: annotations.map((each) => ({ image_id: 1, category_id: 1, ...each })),
  });
  const SIZE = { width: 6, height: 4 };
  const corner = [[0, 0, 3, 0, 3, 1, 1, 1, 1, 3, 0, 3]];
  // Column by column: 2 rows down in the fifth column, and the whole sixth.
  const runs = { counts: [18, 6], size: [4, 6] };

  it('are masks of the picture: polygons by the centers of pixels, runs column by column, together by category', async () => {
    const file = fileOf(
      'instances.json',
      coco(
        SIZE,
        { segmentation: corner },
        { segmentation: runs, iscrowd: 1 },
        { category_id: 2, segmentation: [[4.6, 0.5, 6, 4, 3.2, 4]] },
      ),
    );
    expect(await said(file)).toEqual([
      ['a.jpg', 'dog', ['###..#', '#....#', '#...##', '....##']],
      // At the centers of the rows the edges are at 4.6, 4.6 -+ ..: by hand, (4.2, 5.0), (3.8, 5.4), (3.4, 5.8).
      ['a.jpg', 'cat', ['......', '....#.', '....#.', '...###']],
    ]);
  });

  it('unite polygons of one object, and leave out what two edges of one enclose twice', async () => {
    const square = (from: number, to: number): number[] => [from, from, to, from, to, to, from, to];
    const twice = [...square(0, 4), 0, 0, ...square(1, 3), 1, 1];
    const file = fileOf(
      'instances.json',
      coco(
        { width: 4, height: 4 },
        { segmentation: [square(0, 2), square(1, 4)] },
        { category_id: 2, segmentation: [twice] },
      ),
    );
    expect(await said(file)).toEqual([
      ['a.jpg', 'dog', ['##..', '####', '.###', '.###']],
      ['a.jpg', 'cat', ['####', '#..#', '#..#', '####']],
    ]);
  });

  it('read compressed runs as pycocotools 2.0 writes them', () => {
    // mask.encode of 37 x 53: [5:20, 7:30] and [12:33, 25:50] on, [8:15, 10:18] off.
    const text =
      'X8?f00000DA2?NA2?NA2?NA2?NA2?NA2?NA2?NA2?:0000000000000=C00000007I00000000000000000000000000000000000000S3';
    const column = (on: (row: number) => boolean): boolean[] => Array.from({ length: 37 }, (_, row) => on(row));
    const pixels = Array.from({ length: 53 }, (_, x) =>
      column(
        (y) =>
          !(y >= 8 && y < 15 && x >= 10 && x < 18) &&
          ((y >= 5 && y < 20 && x >= 7 && x < 30) || (y >= 12 && y < 33 && x >= 25 && x < 50)),
      ),
    ).flat();
    const counts = [0];
    let current = false;
    for (const on of pixels) {
      if (on !== current) counts.push(0);
      current = on;
      counts[counts.length - 1]!++;
    }
    expect(decompressedRuns(text)).toEqual(counts);
    // A run of 400 x 10 + 3 takes three characters, and a fall by 27 is negative.
    expect(decompressedRuns('Sm3Q3T3m2YMSMg2')).toEqual([4003, 97, 100, 190, 13, 97, 100]);
    expect(decompressedRuns('X')).toBeNull();
    expect(decompressedRuns('5 5')).toBeNull();
  });

  it('are masks by default only where all annotations have one; else boxes, of which some are drawn around them', async () => {
    const file = fileOf(
      'instances.json',
      coco(
        SIZE,
        { bbox: [1, 1, 2, 2], segmentation: [] },
        { segmentation: runs },
        { category_id: 2, bbox: [0, 0, 1, 1], segmentation: corner },
      ),
    );
    expect(await said(file)).toEqual([
      [
        'a.jpg',
        'dog',
        [
          [1, 1, 2, 2],
          [4, 0, 2, 4],
        ],
      ],
      ['a.jpg', 'cat', [[0, 0, 1, 1]]],
    ]);
    expect((await readLabels(file)).notes[0]).toContain('1 of the 2 classes of pictures');
    expect(await said(file, 'masks')).toEqual([['a.jpg', 'cat', ['###...', '#.....', '#.....', '......']]]);
    expect((await readLabels(file, 'boxes')).notes).toEqual([]);
  });

  it('take the size of the picture where the file does not say it', async () => {
    const file = fileOf('instances.json', coco({}, { segmentation: corner }));
    await sharp({ create: { width: 6, height: 4, channels: 3, background: 'red' } })
      .jpeg()
      .toFile(path.join(path.dirname(file), 'a.jpg'));
    expect(await said(file)).toEqual([['a.jpg', 'dog', ['###...', '#.....', '#.....', '......']]]);
  });

  it('leave annotations without any place out, and say so', async () => {
    const file = fileOf(
      'instances.json',
      coco(SIZE, { bbox: [1, 1, 2, 2] }, { category_id: 7 }, { segmentation: [], bbox: [] }),
    );
    expect(await said(file)).toEqual([['a.jpg', 'dog', [[1, 1, 2, 2]]]]);
    expect((await readLabels(file)).notes).toEqual([
      `2 of the 3 annotations of ${file} have no bbox and no segmentation; they are left out.`,
    ]);
  });

  it('set one picture aside whose runs do not fit', async () => {
    for (const segmentation of [
      { counts: [18, 5], size: [4, 6] },
      { counts: 'b6', size: [4, 6] },
      { counts: 'b', size: [4, 6] },
    ]) {
      await expect(said(fileOf('instances.json', coco(SIZE, { segmentation })))).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        message: expect.stringContaining('do not cover its 6 x 4 pixels') as string,
      });
    }
    for (const segmentation of [[[1, 1, 3, 3]], [[0, 0, 0.4, 0, 0.4, 9]], { counts: [24], size: [4, 6] }]) {
      const file = fileOf('instances.json', coco(SIZE, { segmentation }));
      for (const form of ['boxes', 'masks'] as const) await expect(said(file, form)).rejects.toThrow('covers no pixel');
    }
    const huge = fileOf('instances.json', coco({ width: 1e9, height: 1e9 }, { segmentation: corner }));
    await expect(said(huge)).rejects.toThrow('is of 1000000000 x 1000000000 pixels, more than');
    const two = [{ segmentation: runs }, { segmentation: { counts: [24], size: [6, 4] } }];
    await expect(said(fileOf('instances.json', coco(SIZE, ...two)))).rejects.toThrow('of 6 x 4 pixels and of 4 x 6');
  });

  it.each<[string, object, string]>([
    ['half a corner', { segmentation: [[0, 0, 1, 1, 2]] }, 'annotations.0.segmentation'],
    ['a size of too many pixels', { segmentation: { counts: [1], size: [1e6, 1e6] } }, 'annotations.0.segmentation'],
    ['a box of three numbers', { bbox: [1, 2, 3] }, 'annotations.0.bbox'],
  ])('are refused with %s', async (_what, wrong, message) => {
    await expect(readLabels(fileOf('instances.json', coco(SIZE, wrong)))).rejects.toThrow(message);
  });

  it('are asked for in vain where there are none, and of labels of another form', async () => {
    await expect(readLabels(fileOf('instances.json', coco(SIZE, { bbox: [1, 1, 2, 2] })), 'masks')).rejects.toThrow(
      'has no mask of any object',
    );
    await expect(readLabels(fileOf('own.json', '[{"image": "a.jpg"}]'), 'masks')).rejects.toThrow('is neither');
  });
});
