import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type ObjectPlace, type SearchResult } from '../../lib/index.js';
import { fileFolder, ROOT, sightline, useBuiltCommand } from './command.js';

useBuiltCommand();

const folder = fileFolder();
const EVAL = path.join(ROOT, 'models', 'eval');
const MODEL = 'resnet-tiny-shapes';
const pictures = (
  JSON.parse(readFileSync(path.join(EVAL, 'index.json'), 'utf8')) as {
    readonly file: string;
    readonly mask: string;
    readonly objects: readonly { readonly label: string; readonly index: number }[];
  }[]
).slice(0, 2);
/** A line for each object of a picture: its mask has the gray of its number, from 1. */
const entries = pictures.flatMap(({ file, mask, objects }) =>
  objects.map(({ index }, at) => ({
    image: path.relative(folder, path.join(EVAL, file)),
    mask: path.relative(folder, path.join(EVAL, mask)),
    target: index,
    value: at + 1,
  })),
);

interface Answer {
  readonly images: number;
  readonly summary: readonly { readonly method: string; readonly metric: string; readonly mean: number }[];
  readonly judgements: readonly {
    readonly image: string;
    readonly method: string;
    readonly target: { readonly index: number };
    readonly figures: Readonly<Record<string, number>>;
  }[];
}

describe('evaluate', () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(MODEL, { device: 'cpu' });
  });
  afterAll(() => model.close());

  it('judges the classes and masks of a labels file, and writes a table and every figure', async () => {
    const labels = path.join(folder, 'labels.jsonl');
    writeFileSync(labels, entries.map((entry) => JSON.stringify(entry)).join('\n'));
    const csv = path.join(folder, 'figures.csv');
    const asked = [
      '--model',
      MODEL,
      '--method',
      'grad-cam',
      '--metric',
      'pointing-game',
      '--metric',
      'deletion steps=4',
    ];
    const { code, stdout, stderr } = await sightline('evaluate', '--labels', labels, ...asked, '--out', csv, '--json');
    expect(stderr).not.toContain('INVALID');
    expect(code).toBe(0);
    const answer = JSON.parse(stdout) as Answer;
    expect(answer.images).toBe(entries.length);

    const expected: number[] = [];
    for (const [i, { target, value }] of entries.entries()) {
      const picture = pictures[Math.floor(i / 2)]!;
      const [explained] = await model.explain(path.join(EVAL, picture.file), {
        method: 'grad-cam',
        targets: [target],
      });
      const { row, column } = explained!.maps[0]!.peak();
      const { data, info } = await sharp(path.join(EVAL, picture.mask)).raw().toBuffer({ resolveWithObject: true });
      expect([info.height, info.width]).toEqual(explained!.maps[0]!.shape);
      expected.push(data[(row * info.width + column) * info.channels] === value ? 1 : 0);
    }
    expect(answer.judgements.map(({ figures }) => figures['pointing-game'])).toEqual(expected);
    expect(answer.judgements.map(({ target }) => target.index)).toEqual(entries.map(({ target }) => target));
    const mean = expected.reduce((sum, value) => sum + value, 0) / expected.length;
    expect(answer.summary.find(({ metric }) => metric === 'pointing-game')!.mean).toBe(mean);

    const rows = readFileSync(csv, 'utf8').trimEnd().split('\r\n');
    expect(rows[0]).toBe('image,method,target,label,state,pointing-game,deletion steps=4');
    expect(rows).toHaveLength(1 + entries.length);
    expect(rows.slice(1).map((row) => Number(row.split(',')[5]))).toEqual(expected);
  });

  /** What is judged of labels in one form, but for the names of pictures. */
  async function judged(labels: string, metric: string): Promise<unknown[]> {
    const asked = ['--model', MODEL, '--method', 'grad-cam', '--metric', metric, '--json'];
    const { code, stdout, stderr } = await sightline('evaluate', '--labels', labels, ...asked);
    expect([code, stderr]).toEqual([0, expect.not.stringContaining('INVALID')]);
    return (JSON.parse(stdout) as Answer).judgements.map(({ image, target, figures }) => [
      path.basename(image),
      target.index,
      figures,
    ]);
  }

  it('takes the boxes of COCO annotations, all of a category together', async () => {
    const [first, second] = pictures as [(typeof pictures)[number], (typeof pictures)[number]];
    const boxes = [
      [10, 12, 20.5, 18],
      [40, 30, 16, 20],
      [5, 5, 30, 30],
    ] as const;
    const [a, b] = first.objects as [{ label: string; index: number }, { label: string; index: number }];
    const file = (name: string): string => path.relative(folder, path.join(EVAL, name));
    const coco = {
      images: [
        { id: 7, file_name: file(second.file), width: 1 },
        { id: 'eight', file_name: file(first.file), license: 3 },
      ],
      categories: [
        { id: 1, name: a.label, supercategory: 'shape' },
        { id: 20, name: b.label },
      ],
      annotations: [
        { id: 1, image_id: 'eight', category_id: 1, bbox: boxes[0], area: 3, segmentation: [], iscrowd: 0 },
        { id: 2, image_id: 7, category_id: 20, bbox: boxes[1] },
        { id: 3, image_id: 'eight', category_id: 1, bbox: boxes[2] },
      ],
    };
    const own = [
      { image: file(first.file), target: a.index, boxes: [boxes[0], boxes[2]] },
      { image: file(second.file), target: b.index, boxes: [boxes[1]] },
    ];
    const [cocoFile, ownFile] = [path.join(folder, 'instances.json'), path.join(folder, 'own.json')];
    writeFileSync(cocoFile, JSON.stringify(coco, null, 1));
    writeFileSync(ownFile, JSON.stringify(own));
    expect(await judged(cocoFile, 'mass-accuracy')).toEqual(await judged(ownFile, 'mass-accuracy'));
  });

  it("takes COCO's segmentations as masks, sets one aside that does not fit, and writes a report", async () => {
    const [first, second] = pictures as [(typeof pictures)[number], (typeof pictures)[number]];
    const image = path.join(EVAL, first.file);
    const { width = 0, height = 0 } = await sharp(image).metadata();
    const { label, index } = first.objects[0]!;
    const [right, bottom] = [Math.floor(width / 2), Math.floor(height / 3)];
    const coco = {
      images: [first, second].map(({ file }, id) => ({ id, file_name: path.relative(folder, path.join(EVAL, file)) })),
      categories: [{ id: 1, name: label }],
      annotations: [
        { image_id: 0, category_id: 1, segmentation: [[0, 0, right, 0, right, bottom, 0, bottom]] },
        { image_id: 1, category_id: 1, segmentation: { counts: [0, 6], size: [2, 3] } },
        { image_id: 1, category_id: 1 },
      ],
    };
    const [labels, html] = [path.join(folder, 'segmented.json'), path.join(folder, 'report', 'r.html')];
    writeFileSync(labels, JSON.stringify(coco));
    const { code, stdout, stderr } = await sightline(
      ...['evaluate', '--labels', labels, '--model', MODEL, '--device', 'cpu', '--html', html, '--json'],
      ...['--method', 'grad-cam', '--metric', 'mass-accuracy', '--metric', 'deletion steps=4'],
    );
    expect(stderr).toContain('1 of 2 pictures could not be judged: The mask of');
    expect(stderr).toContain('has 3 x 2 pixels');
    expect(stderr).toContain('1 of the 3 annotations');
    expect(code).toBe(2);
    const mask = new Uint8Array(width * height).map((_, at) =>
      at % width < right && Math.floor(at / width) < bottom ? 1 : 0,
    );
    const expected = await model.evaluate(image, {
      methods: ['grad-cam'],
      metrics: ['mass-accuracy'],
      targets: [index],
      objects: [{ data: mask, width, height }],
    });
    const figure = expected.judgements[0]!.figures['mass-accuracy']!;
    const answer = JSON.parse(stdout) as Answer & { html: string };
    expect(answer.judgements.map(({ figures }) => figures['mass-accuracy'])).toEqual([expect.closeTo(figure, 5)]);
    expect(answer.html).toBe(html);
    const report = readFileSync(html, 'utf8');
    expect(report).toContain(`<b>${Number(figure.toPrecision(3))}</b> <span>grad-cam</span>`);
    expect(report.match(/<img src="data:image\/webp;base64,[A-Za-z0-9+/=]{1000,}"/g)).toHaveLength(2);
    expect(report).toContain('<title>Mean curves of deletion steps=4</title>');
    expect(existsSync(`${html}.journal`)).toBe(false);
  });

  it('takes the classes of pictures from the names of their folders', async () => {
    const root = path.join(folder, 'classes');
    const own = pictures.map(({ file, objects }) => {
      const { label, index } = objects[0]!;
      mkdirSync(path.join(root, label), { recursive: true });
      copyFileSync(path.join(EVAL, file), path.join(root, label, path.basename(file)));
      return { image: path.join('classes', label, path.basename(file)), target: index };
    });
    writeFileSync(path.join(root, own[0]!.image.split(path.sep)[1]!, 'notes.txt'), 'no picture');
    writeFileSync(path.join(root, 'readme.jpg'), 'in no folder of a class');
    const ownFile = path.join(folder, 'of-folders.jsonl');
    const sorted = [...own].sort((a, b) => (a.image < b.image ? -1 : 1));
    writeFileSync(ownFile, sorted.map((entry) => JSON.stringify(entry)).join('\n'));
    expect(await judged(root, 'sparseness')).toEqual(await judged(ownFile, 'sparseness'));
  });

  it('judges the rest where one picture is bad, each of several classes, and says so', async () => {
    const files = pictures.map(({ file }) => path.join(EVAL, file));
    const bad = path.join(folder, 'bad.png');
    writeFileSync(bad, 'no picture');
    const { code, stdout, stderr } = await sightline(
      ...['evaluate', files[0]!, bad, files[1]!, '--model', MODEL, '--target', 'top2', '--metric', 'sparseness'],
      ...['--method', 'grad-cam', '--method', 'hires-cam', '--json'],
    );
    expect(code).toBe(2);
    expect(stderr).toContain('1 of 3 pictures could not be judged');
    const answer = JSON.parse(stdout) as Answer & { failures: { image: string; error: { code: string } }[] };
    expect(answer.images).toBe(2);
    expect(answer.failures).toMatchObject([{ image: bad, error: { code: 'INVALID_IMAGE' } }]);
    const names = (method: string): string[] =>
      answer.judgements.filter((each) => each.method === method).map(({ image }) => image);
    for (const method of ['grad-cam', 'hires-cam']) {
      expect(names(method)).toEqual([files[0], files[0], files[1], files[1]]);
    }
    const explained = await model.explain(files, { method: 'grad-cam', targets: ['top2'] });
    const expected = explained.flatMap(({ maps }) => maps.map(({ target }) => target.index));
    expect(answer.judgements.filter((each) => each.method === 'grad-cam').map(({ target }) => target.index)).toEqual(
      expected,
    );
  });

  it('prints a table for people, the best method first', async () => {
    const picture = path.join(EVAL, pictures[0]!.file);
    const { code, stdout } = await sightline(
      ...['evaluate', picture, '--model', MODEL, '--method', 'grad-cam', '--method', 'random-cam'],
      ...['--metric', 'complexity', '--device', 'cpu'],
    );
    expect(code).toBe(0);
    const lines = stdout.split('\n');
    expect(lines[0]).toBe('complexity (lower is better)');
    const value = (line: string): number => Number(line.trim().split(/\s+/)[1]);
    expect(value(lines[1]!)).toBeLessThan(value(lines[2]!));
    expect(lines[1]).toContain('best');
  });

  it.each<[string, string[], string]>([
    ['no picture', ['--method', 'grad-cam'], 'Name pictures'],
    ['an unknown metric', ['a.jpg', '--method', 'grad-cam', '--metric', 'deletio'], 'no metric "deletio"'],
    ['an option without a value', ['a.jpg', '--method', 'grad-cam', '--metric', 'deletion steps'], 'key=value'],
    ['a metric of objects without any', ['a.jpg', '--method', 'grad-cam', '--metric', 'iou'], 'objects'],
    ['a missing labels file', ['--labels', 'none.jsonl', '--method', 'grad-cam'], 'none.jsonl'],
    ['an --html that is a folder', ['a.jpg', '--method', 'grad-cam', '--html', folder], 'is a folder'],
    ['--objects without labels', ['a.jpg', '--method', 'grad-cam', '--objects', 'masks'], 'read of a --labels file'],
    ['--images without labels', ['a.jpg', '--method', 'grad-cam', '--images', 'b'], 'read of a --labels file'],
    ['--objects of another form', ['--labels', 'a', '--method', 'cam', '--objects', 'dots'], 'boxes, masks'],
    ['an --out of no format', ['a.jpg', '--method', 'grad-cam', '--out', 'figures.txt'], '.json or .csv'],
  ])('refuses %s before anything is loaded', async (_what, args, message) => {
    const { code, stderr } = await sightline('evaluate', ...args);
    expect(stderr).toContain(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(code).toBe(2);
  });

  it('refuses a folder without pictures of a class', async () => {
    const empty = path.join(folder, 'empty');
    mkdirSync(path.join(empty, 'collie'), { recursive: true });
    const none = await sightline('evaluate', '--labels', empty, '--method', 'grad-cam');
    expect(none.stderr).toContain('has no folder with pictures in it');
    expect(none.code).toBe(2);
  });

  it.each<[string, string, string]>([
    ['no JSON', '{"image": ', 'is no JSON'],
    ['no image', '{"target": 3}', 'Entry 1 of'],
    ['both', '{"image": "a.jpg", "mask": "m.png", "boxes": [[0, 0, 1, 1]]}', 'a mask and boxes'],
    ['nothing', '\n', 'lists no picture'],
    [
      'COCO of no boxes',
      '{"images": [], "annotations": [{"image_id": 1, "category_id": 1}], "categories": []}',
      'bbox',
    ],
    [
      'COCO of an unknown image',
      '{"images": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}], "categories": []}',
      'has no image 1, which annotation 1 is of',
    ],
    [
      'COCO of an unknown category',
      '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "category_id": 4, "bbox": [0, 0, 1, 1]}], "categories": []}',
      'has no category 4, which annotation 1 is of',
    ],
    ['COCO of nothing', '{"images": [], "annotations": [], "categories": []}', 'lists no object'],
    ['a mask that is not there', '{"image": "a.jpg", "mask": "m.png"}', 'm.png'],
    [
      'a mask for one picture only',
      '{"image": "a.jpg", "boxes": [[0, 0, 1, 1]]}\n{"image": "b.jpg"}',
      'b.jpg has no mask',
    ],
  ])('refuses a labels file with %s', async (what, text, message) => {
    const file = path.join(folder, `${what.replaceAll(' ', '-')}.jsonl`);
    writeFileSync(file, text);
    const { code, stderr } = await sightline('evaluate', '--labels', file, '--method', 'grad-cam');
    expect(stderr).toContain(message);
    expect(code).toBe(2);
  });
});

describe('sanity', () => {
  it('gives for each step and method how alike the maps are, as the library does', async () => {
    const picture = path.join(EVAL, pictures[0]!.file);
    const asked = ['sanity', picture, '--model', MODEL, '--method', 'grad-cam', '--method', 'smooth-grad samples=2'];
    const flags = ['--layers', 'fc,layer4', '--similarity', 'ssim', '--seed', '3', '--target', 'rank1'];
    const { code, stdout } = await sightline(...asked, ...flags, '--json');
    expect(code).toBe(0);
    const { methods } = JSON.parse(stdout) as {
      methods: { method: string; steps: { layer: string; similarities: number[] }[] }[];
    };
    expect(methods.map(({ method }) => method)).toEqual(['grad-cam', 'smooth-grad samples=2']);
    const model = await Model.load(MODEL, { device: 'cpu' });
    const { steps } = await model.sanityCheck(picture, {
      check: 'cascading',
      method: 'grad-cam',
      layers: ['fc', 'layer4'],
      similarity: 'ssim',
      seed: 3,
      targets: ['rank1'],
    });
    await model.close();
    expect(steps.every(({ mean }) => Number.isFinite(mean))).toBe(true);
    expect(methods[0]!.steps.map(({ layer, similarities }) => ({ layer, similarities }))).toEqual(
      steps.map(({ layer, similarities }) => ({ layer, similarities })),
    );
    const table = await sightline(...asked, '--check', 'random-logit');
    expect(table.stdout).toMatch(/another class +-?0\.\d+ .*0\.\d+/);
  });

  it('refuses what does nothing', async () => {
    const { code, stderr } = await sightline(
      ...['sanity', 'a.jpg', '--method', 'grad-cam', '--check', 'random-logit', '--layers', 'fc'],
    );
    expect([code, stderr]).toEqual([2, expect.stringContaining('`layers` would do nothing')]);
  });
});

describe('search', () => {
  it('finds what the library finds, and saves a winner that explain takes', async () => {
    const labels = path.join(folder, 'search.jsonl');
    writeFileSync(labels, entries.map((entry) => JSON.stringify(entry)).join('\n'));
    const save = path.join(folder, 'preset.json');
    const { code, stdout } = await sightline(
      ...['search', '--labels', labels, '--model', MODEL, '--metric', 'mass-accuracy', '--held-out', '0.5'],
      ...['--method', 'layer-cam layer=["layer2","layer3"]', '--method', 'grad-cam', '--seed', '2', '--save', save],
      '--json',
    );
    expect(code).toBe(0);
    const found = JSON.parse(stdout) as SearchResult;
    const model = await Model.load(MODEL, { device: 'cpu' });
    const objects: ObjectPlace[] = [];
    for (const { mask, value } of entries) {
      const { data, info } = await sharp(path.join(folder, mask)).raw().toBuffer({ resolveWithObject: true });
      const own = Uint8Array.from({ length: info.width * info.height }, (_, i) =>
        data[i * info.channels] === value ? 1 : 0,
      );
      objects.push({ data: own, width: info.width, height: info.height });
    }
    const expected = await model.search(
      entries.map(({ image }) => path.join(folder, image)),
      {
        candidates: [{ method: 'layer-cam', over: { layer: ['layer2', 'layer3'] } }, 'grad-cam'],
        metric: 'mass-accuracy',
        heldOut: 0.5,
        seed: 2,
        targets: entries.map(({ target }) => [target]),
        objects,
      },
    );
    expect(found.candidates.map(({ label }) => label)).toEqual(expected.candidates.map(({ label }) => label));
    expect(found.best.options).toEqual(expected.best.options);
    found.candidates.forEach(({ mean }, i) => expect(mean).toBeCloseTo(expected.candidates[i]!.mean, 6));

    const asked = ['explain', path.join(folder, entries[0]!.image), '--model', MODEL, '--json'];
    const explained = await sightline(...asked, '--preset', save);
    const options = expected.best.options as { method: string; layer?: string };
    const plain = await sightline(
      ...[...asked, '--method', options.method, ...(options.layer === undefined ? [] : ['--layer', options.layer])],
    );
    expect(explained.code).toBe(0);
    expect(JSON.parse(explained.stdout)).toEqual(JSON.parse(plain.stdout));
    await model.close();

    const both = await sightline(...asked, '--preset', save, '--method', 'cam');
    expect([both.code, both.stderr]).toEqual([2, expect.stringContaining('--preset file names the method')]);
    writeFileSync(save, '{"metod": "cam"}');
    const wrong = await sightline(...asked, '--preset', save);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining(`--preset ${save} holds no method`)]);
  });

  it('prints the best candidates, and what to expect of the winner', async () => {
    const { code, stdout } = await sightline(
      ...['search', ...pictures.map(({ file }) => path.join(EVAL, file)), '--model', MODEL, '--metric', 'sparseness'],
      ...['--method', 'grad-cam', '--method', 'layer-cam'],
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^sparseness \(higher is better\), 2 candidates$/m);
    expect(stdout).toMatch(/held out +1 pictures +best/);
  });
});
