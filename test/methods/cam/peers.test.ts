import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type HeatMap, type Input, type MethodName, type NamedOptions } from '../../../lib/index.js';
import { loadSmall, pixelsOf } from '../../support/models.js';
import { expectRounded, nudged, unit } from '../../support/rounding.js';
import { numbersOf, readSafetensors } from '../../support/safetensors.js';

const FOLDER = new URL('../../parity/methods/', import.meta.url);
const EVAL = new URL('../../../models/eval/', import.meta.url);
const NAMES = readdirSync(FOLDER)
  .filter((file) => /^cam-.*\.safetensors$/.test(file) && !file.startsWith('cam-hand'))
  .map((file) => basename(file, '.safetensors').slice('cam-'.length));

/** What docs/parity.md promises of min-max maps. */
const PROMISED = 1e-4;

function largestDifference(ours: Float64Array, theirs: ArrayLike<number>): number {
  expect(ours.length).toBe(theirs.length);
  // NaN must not pass for 0.
  return ours.reduce(
    (most, value, i) => (Math.abs(value - theirs[i]!) <= most ? most : Math.abs(value - theirs[i]!)),
    0,
  );
}

/** Each so-manieth row and column. */
function sampled(values: ArrayLike<number>, [height, width]: readonly [number, number], every: number): Float64Array {
  return Float64Array.from(values).filter(
    (_, i) => Math.floor(i / width) % every === 0 && (i % width) % every === 0 && i < height * width,
  );
}

/** The largest difference found, by peer and method. */
const measured = new Map<string, number>();

const pictureNames = (JSON.parse(readFileSync(new URL('index.json', EVAL), 'utf8')) as { file: string }[]).map(
  ({ file }) => file,
);

it('finds the references', () => {
  expect(NAMES).toEqual(
    expect.arrayContaining([
      'resnet-tiny-shapes',
      'vit-tiny-shapes',
      'timm-swin-traced',
      'timm-dinov2-registers-traced',
    ]),
  );
});

describe.each(NAMES)('%s', (name) => {
  const reference = readSafetensors(new URL(`cam-${name}.safetensors`, FOLDER));
  const targets = numbersOf(reference.get('targets')!).map((target) => [target]);
  const maps = [...reference.keys()].filter((key) => key.includes('{'));
  let model: Model;
  let images: Input[];

  beforeAll(async () => {
    const pictures = reference.get('pictures');
    if (pictures) {
      model = await Model.load(name, { device: 'cpu' });
      images = numbersOf(pictures).map((number) => fileURLToPath(new URL(pictureNames[number]!, EVAL)));
      return;
    }
    model = await loadSmall(name);
    const input = readSafetensors(new URL(`../references/${name}.safetensors`, FOLDER)).get('input')!;
    const [, , height, width] = input.shape as [number, number, number, number];
    const size = 3 * height * width;
    images = targets.map((_, i) => ({
      data: (input.data as Float32Array).slice(i * size, (i + 1) * size),
      shape: [1, 3, height, width],
    }));
  });
  afterAll(() => model.close());

  it.each(maps)('%s', async (key) => {
    const { every, ...options } = JSON.parse(key.slice(key.indexOf('{'))) as NamedOptions<MethodName> & {
      every?: number;
    };
    const { data, shape } = reference.get(key)! as { data: Float32Array; shape: readonly number[] };
    const area = shape[1]! * shape[2]!;
    const request = { ...options, size: every ? 'image' : 'grid', raw: !every } as NamedOptions<MethodName>;
    const explained = await model.explain(images, { ...request, targets });
    const what = `${options.method} by ${key.slice(0, key.indexOf(' '))}`;
    const compared = (map: HeatMap): Float64Array => (every ? sampled(map.data, map.shape, every) : unit(map.data));
    for (const [
      i,
      {
        maps: [map],
      },
    ] of explained.entries()) {
      const peer = data.subarray(i * area, (i + 1) * area);
      const theirs = every ? peer : unit(peer);
      expect(map!.state).toBe('ok');
      measured.set(what, Math.max(measured.get(what) ?? 0, largestDifference(compared(map!), theirs)));
      const again = async (seed: number): Promise<Float64Array> =>
        compared(
          (
            await model.explain(nudged(await pixelsOf(model, images[i]!), seed), { ...request, targets: targets[i]! })
          )[0]!.maps[0]!,
        );
      await expectRounded(compared(map!), theirs, `${name}: ${what}, image ${i}`, { model, again, promised: PROMISED });
    }
  });
});

afterAll(() => {
  console.log(
    `Largest differences of min-max maps, ${NAMES.length} models:\n  ${[...measured].map(([what, largest]) => `${what}: ${largest.toExponential(1)}`).join('\n  ')}`,
  );
});
