import { copyFileSync, existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { Model } from '../../lib/index.js';
import { plainCard } from '../support/models.js';
import { answerOf, DEMO, fileFolder, ROOT, sightline, temporaryFolder, useBuiltCommand } from './command.js';

interface Answer {
  results: {
    predictions: unknown[];
    maps: {
      target: { index: number; label: string; places?: number; box?: number };
      min: number;
      max: number;
      overlay: string;
    }[];
  }[];
}

const PICTURE = path.join(DEMO, 'disc-and-flower.png');
const folder = fileFolder();
useBuiltCommand();

function modelIn(name: string, card: object): string {
  const file = path.join(folder, `${name}.pt`);
  copyFileSync(path.join(ROOT, 'test/parity/methods', `${name}.pt`), file);
  writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(card));
  return file;
}

const segmenter = modelIn('dense-masks', {
  ...plainCard(24, 32),
  labels: ['ground', 'cat', 'dog', 'sofa', 'lamp'],
});
const detector = modelIn('dense-detector', {
  ...plainCard(16, 16),
  labels: ['cat', 'dog', 'lamp'],
  dense: { kind: 'boxes', values: 'first', place: 'center', objectness: false },
});
const common = ['--method', 'gradient', '--device', 'cpu'];

describe('explain', () => {
  it('masks: a class, at a point too, as the library does', async () => {
    const targets = ['--target', 'mask:sofa', '--target', 'mask:2@40,30'];
    const answer = await answerOf<Answer>('explain', PICTURE, '--model', segmenter, ...common, ...targets);
    await using model = await Model.load(segmenter, { device: 'cpu' });
    const [expected] = await model.explain([PICTURE], {
      method: 'gradient',
      targets: [{ mask: 'sofa' }, { mask: 2, point: [40, 30] }],
    });
    const [{ maps, predictions }] = answer.results as [Answer['results'][0]];
    expect(predictions).toEqual([]);
    expect(maps.map(({ target }) => target)).toEqual(
      expected!.maps.map(({ target: { index, label, places } }) => ({ index, label, places })),
    );
    expect(maps.map(({ target }) => target.label)).toEqual(['sofa', 'dog']);
    expect(maps[1]!.target.places).toBe(1);
    expect(maps.map(({ max }) => max)).toEqual(expected!.maps.map(({ max }) => max));
  });

  it('boxes: of the best class and of one that is named, each to a file of its own', async () => {
    const out = temporaryFolder();
    const targets = ['--target', 'box:5', '--target', 'box:5:lamp', '--target', 'box:9:lamp'];
    const options = ['--model', detector, ...common, ...targets, '--out', out];
    const { results } = await answerOf<Answer>('explain', PICTURE, ...options);
    const { maps } = results[0]!;
    expect(maps.map(({ target }) => target.box)).toEqual([5, 5, 9]);
    expect(maps[1]!.target).toEqual({ index: 2, label: 'lamp', box: 5 });
    expect(new Set(maps.map(({ overlay }) => overlay)).size).toBe(3);
    for (const { overlay } of maps) expect(existsSync(overlay)).toBe(true);
    const { stdout, code } = await sightline('explain', PICTURE, ...options);
    expect(code).toBe(0);
    expect(stdout).toContain('lamp (class 2) of box 9');
    expect(stdout).not.toContain('predicted');
  });

  it.each([
    ['box:16', 'There is no box 16'],
    ['box:3:cap', 'no class "cap"'],
    ['mask:cat', 'boxes and no masks'],
    ['cat', '{ box: n }'],
  ])('refuses the target %s of a detector in one line', async (target, words) => {
    const { code, stderr, stdout } = await sightline(
      'explain',
      PICTURE,
      '--model',
      detector,
      ...common,
      '--target',
      target,
    );
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr.trim().split('\n').at(-1)).toContain(words);
  });
});

it('inspect says what the output is', async () => {
  const masks = await sightline('inspect', segmenter, '--device', 'cpu');
  expect(masks.stdout).toContain('5 classes for each of 32 x 24 places');
  const boxes = await sightline('inspect', detector, '--device', 'cpu');
  expect(boxes.stdout).toContain('3 classes for each of 16 boxes');
  const { dense } = await answerOf<{ dense: { kind: string } }>('inspect', detector, '--device', 'cpu');
  expect(dense.kind).toBe('boxes');
});
