import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { vocColor } from '../../lib/cli/labels/pascal-voc.js';
import { readLabels } from '../../lib/cli/labels/read-labels.js';
import type { ObjectForm } from '../../lib/cli/labels/labelled-picture.js';
import { temporaryFolder } from './command.js';
import { fileOf, said } from './labels.js';

describe('a CSV table of labels', () => {
  it('has a picture for each image and target, with the boxes of all their rows', async () => {
    const table = [
      '\uFEFFimage,target,left,top,width,height',
      'a.jpg,"collie, rough",1,2,3,4',
      'b/b.jpg,collie,0.5,0,10,10',
      '',
      'a.jpg,"collie, rough",5,6,7,8',
      'a.jpg,3,9,9,1,1',
      '"say ""hi"".jpg",,0,0,2,2',
    ].join('\r\n');
    expect(await said(fileOf('boxes.csv', table))).toEqual([
      [
        'a.jpg',
        'collie, rough',
        [
          [1, 2, 3, 4],
          [5, 6, 7, 8],
        ],
      ],
      ['b/b.jpg', 'collie', [[0.5, 0, 10, 10]]],
      ['a.jpg', '3', [[9, 9, 1, 1]]],
      ['say "hi".jpg', null, [[0, 0, 2, 2]]],
    ]);
  });

  it('names masks, of which some have several objects', async () => {
    const file = fileOf('masks.csv', 'image,target,mask,value\na.png,1,m.png,2\nb.png,2,m.png,\n');
    const gray = Uint8Array.from([0, 1, 2, 2, 0, 0]);
    await sharp(gray, { raw: { width: 3, height: 2, channels: 1 } })
      .png()
      .toFile(path.join(path.dirname(file), 'm.png'));
    expect(await said(file)).toEqual([
      ['a.png', '1', ['..#', '#..']],
      ['b.png', '2', ['.##', '#..']],
    ]);
    const none = fileOf('none.csv', `image,mask,value\na.png,${path.join(path.dirname(file), 'm.png')},7\n`);
    // A path that is absolute is taken as it is.
    await expect(said(none)).rejects.toThrow('has no pixel of rgb(7, 7, 7)');
  });

  it.each<[string, string, string]>([
    ['an unknown column', 'image,label\na.jpg,1\n', 'has "label"; its columns are image, target'],
    ['no image column', 'target\n1\n', 'has no "image"'],
    ['a column twice', 'image,image\na,b\n', 'has "image" twice'],
    ['a row of another length', 'image,target\na.jpg\n', 'is no CSV table'],
    ['half a box', 'image,left,top\na.jpg,1,2\n', 'Line 2 of'],
    ['a word for a number', 'image,left,top,width,height\na.jpg,1,2,wide,4\n', 'has the width "wide"; give a number'],
    ['a negative width', 'image,left,top,width,height\n\na.jpg,1,2,-3,4\n', 'Line 3 of'],
    ['a mask and a box', 'image,mask,left,top,width,height\na.jpg,m.png,1,2,3,4\n', 'a mask and boxes'],
    ['a value without a mask', 'image,value\na.jpg,3\n', 'no mask'],
    ['no image in a row', 'image,target\n,3\n', 'Line 2 of'],
    ['no row', 'image,target\n', 'lists no picture'],
  ])('is refused with %s', async (_what, text, message) => {
    await expect(readLabels(fileOf('labels.csv', text))).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining(message) as string,
    });
  });
});

describe('a folder of pictures beside the labels', () => {
  it('is what their paths are relative to, in each form of a file', async () => {
    const box = { bbox: [1, 2, 3, 4], image_id: 1, category_id: 1 };
    const coco = { images: [{ id: 1, file_name: 'a.jpg' }], categories: [{ id: 1, name: 'dog' }], annotations: [box] };
    const own = '{"image": "a.jpg", "target": "dog", "boxes": [[1, 2, 3, 4]]}';
    const table = 'image,target,left,top,width,height\na.jpg,dog,1,2,3,4\n';
    for (const file of [fileOf('c.json', coco), fileOf('o.jsonl', own), fileOf('t.csv', table)]) {
      const images = path.join(path.dirname(file), 'val2017');
      expect(await said(file, null, images)).toEqual([['val2017/a.jpg', 'dog', [[1, 2, 3, 4]]]]);
    }
  });

  it('is not asked of labels that have their pictures beside them', async () => {
    await expect(readLabels(temporaryFolder(), null, 'images')).rejects.toThrow('has its own beside it; leave it out');
    await expect(readLabels(fileOf('a.xml', '<a/>'), null, 'images')).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });
});

const object = (name: string, [xmin, ymin, xmax, ymax]: readonly number[], more = ''): string =>
  `<object><name>${name}</name>${more}<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part><bndbox><xmax>${xmax}</xmax><xmin>${xmin}</xmin><ymin>${ymin}</ymin><ymax>${ymax}</ymax></bndbox></object>`;
const annotation = (filename: string, ...objects: string[]): string =>
  `<annotation>\n<folder>VOC2012</folder><filename>${filename}</filename>${objects.join('')}</annotation>`;

/** A folder of Pascal VOC with two pictures; masks as rows of object numbers. */
async function vocFolder(
  masks: Readonly<Record<string, readonly (readonly number[])[]>>,
  kind = 'SegmentationObject',
): Promise<string> {
  const root = temporaryFolder();
  for (const folder of ['Annotations', 'JPEGImages', kind]) mkdirSync(path.join(root, folder));
  writeFileSync(path.join(root, 'JPEGImages', 'only-looked-at-later.jpg'), '');
  writeFileSync(
    path.join(root, 'Annotations', '2007_1.xml'),
    annotation(
      '2007_1.jpg',
      object('dog', [1, 1, 2, 1]),
      object('cat', [3, 1, 3, 2], '<difficult>0</difficult>'),
      object('dog', [1.5, 2, 2, 2]),
    ),
  );
  writeFileSync(
    path.join(root, 'Annotations', '2007_2.xml'),
    annotation('2007_2.jpg', object('Tom &amp; cat', [1, 1, 1, 1])),
  );
  writeFileSync(path.join(root, 'Annotations', 'notes.txt'), 'no annotation');
  for (const [name, rows] of Object.entries(masks)) {
    await sharp(Uint8Array.from(rows.flat().flatMap((number) => vocColor(number))), {
      raw: { width: rows[0]!.length, height: rows.length, channels: 3 },
    })
      .png({ palette: true })
      .toFile(path.join(root, kind, `${name}.png`));
  }
  return root;
}

const MASK = [
  [1, 1, 2],
  [255, 3, 2],
];

describe('annotations of Pascal VOC', () => {
  const boxes = [
    [
      'JPEGImages/2007_1.jpg',
      'dog',
      [
        [0, 0, 2, 1],
        [0.5, 1, 1.5, 1],
      ],
    ],
    ['JPEGImages/2007_1.jpg', 'cat', [[2, 0, 1, 2]]],
    ['JPEGImages/2007_2.jpg', 'Tom & cat', [[0, 0, 1, 1]]],
  ];
  /** With paths from within the folder. */
  const saidOf = async (root: string, form: ObjectForm | null): Promise<unknown[]> =>
    (await said(path.join(root, '.'), form)).map((each) => {
      const [image, ...rest] = each as [string];
      return [path.relative(root, path.resolve(path.dirname(root), image)), ...rest];
    });

  it('give each class of a picture once, with the boxes of its objects, whose first pixel is 1', async () => {
    const root = await vocFolder({});
    expect(await saidOf(root, null)).toEqual(boxes);
    expect((await readLabels(root)).notes).toEqual([]);
    const file = path.join(root, 'Annotations', '2007_2.xml');
    expect(await said(file)).toEqual([['../JPEGImages/2007_2.jpg', 'Tom & cat', [[0, 0, 1, 1]]]]);
    const alone = fileOf('alone.xml', annotation('a.jpg', object('dog', [2, 3, 4, 5])));
    expect(await said(alone)).toEqual([['a.jpg', 'dog', [[1, 2, 3, 3]]]]);
  });

  it('give masks by the colors of their objects where all pictures have one', async () => {
    const root = await vocFolder({ '2007_1': MASK, '2007_2': [[1, 0]] });
    const masks = [
      ['JPEGImages/2007_1.jpg', 'dog', ['##.', '.#.']],
      ['JPEGImages/2007_1.jpg', 'cat', ['..#', '..#']],
      ['JPEGImages/2007_2.jpg', 'Tom & cat', ['#.']],
    ];
    expect(await saidOf(root, null)).toEqual(masks);
    expect(await saidOf(root, 'boxes')).toEqual(boxes);
  });

  it('give boxes where some pictures have no mask, or leave those out, and say so', async () => {
    const root = await vocFolder({ '2007_1': MASK });
    expect(await saidOf(root, null)).toEqual(boxes);
    expect((await readLabels(root)).notes).toEqual([
      `1 of the 3 classes of pictures in ${root} have no mask, so that boxes are taken of all; --objects masks takes the others alone.`,
    ]);
    expect((await readLabels(root, 'boxes')).notes).toEqual([]);
    const { pictures, notes } = await readLabels(root, 'masks');
    expect(pictures.map(({ target }) => target)).toEqual(['dog', 'cat']);
    expect(notes[0]).toContain('1 of the 3 classes of pictures');
  });

  it('give masks of SegmentationClass by the number of the class', async () => {
    const root = await vocFolder(
      {
        '2007_1': [
          [12, 12, 8],
          [0, 12, 8],
        ],
      },
      'SegmentationClass',
    );
    expect(await saidOf(root, 'masks')).toEqual([
      ['JPEGImages/2007_1.jpg', 'dog', ['##.', '.#.']],
      ['JPEGImages/2007_1.jpg', 'cat', ['..#', '..#']],
    ]);
  });

  it('have the colors of the development kit', () => {
    expect([1, 2, 3, 12, 20, 255].map(vocColor)).toEqual([
      [128, 0, 0],
      [0, 128, 0],
      [128, 128, 0],
      [64, 0, 128],
      [0, 64, 128],
      [224, 224, 192],
    ]);
  });

  it.each<[string, string, string]>([
    ['no XML', '<annotation><filename>', 'is no XML'],
    [
      'an entity of its own',
      '<!DOCTYPE a [<!ENTITY x "y">]><annotation><filename>&x;</filename></annotation>',
      'is no XML',
    ],
    ['no annotation', '<html><filename>a.jpg</filename></html>', 'is no annotation of Pascal VOC'],
    ['no filename', annotation('', object('dog', [1, 1, 2, 2])), 'is no annotation of Pascal VOC'],
    ['no object', annotation('a.jpg'), 'lists no object'],
    ['no name', annotation('a.jpg', object('', [1, 1, 2, 2])), 'has no name of object 1'],
    ['a box of words', annotation('a.jpg', object('dog', [1, NaN, 2, 2])), 'has no number for ymin of object 1, dog'],
    ['no box', annotation('a.jpg', '<object><name>dog</name></object>'), 'has no number for xmin of object 1, dog'],
    ['a box inside out', annotation('a.jpg', object('dog', [5, 1, 2, 2])), 'ends before it begins'],
  ])('are refused with %s', async (_what, text, message) => {
    await expect(readLabels(fileOf('a.xml', text))).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining(message) as string,
    });
  });
});
