import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model } from '../../lib/index.js';
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
    ['an --out of no format', ['a.jpg', '--method', 'grad-cam', '--out', 'figures.txt'], '.json or .csv'],
  ])('refuses %s before anything is loaded', async (_what, args, message) => {
    const { code, stderr } = await sightline('evaluate', ...args);
    expect(stderr).toContain(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(code).toBe(2);
  });

  it.each<[string, string, string]>([
    ['no JSON', '{"image": ', 'is no JSON'],
    ['no image', '{"target": 3}', 'Entry 1 of'],
    ['both', '{"image": "a.jpg", "mask": "m.png", "boxes": [[0, 0, 1, 1]]}', 'a mask and boxes'],
    ['nothing', '\n', 'lists no picture'],
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
