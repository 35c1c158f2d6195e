import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';

import sharp from 'sharp';
import { Model } from 'sightline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { costOf } from '../../examples/benchmark.js';
import { compareMethods } from '../../examples/contact-sheet.js';
import { explainFolder } from '../../examples/folder.js';
import { explainFile } from '../../examples/one-file.js';
import { evidence } from '../../examples/own-method.js';
import { explainRegion } from '../../examples/segmentation-score.js';
import { explainFrames } from '../../examples/video-frames.js';
import { explainInWorkers } from '../../examples/worker-pool.mjs';
import { archivePath, pixelsOf, plainCard, randomTensor } from '../support/models.js';
import { expectRounded, expectWithin, nudged } from '../support/rounding.js';
import { photo, picture, temporary } from './support.js';

const folder = temporary();
const out = (name: string): string => path.join(folder, name);
const pictures = ['000.png', '001.png', '002.png'];
let model: Model;
beforeAll(async () => {
  model = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
});
afterAll(async () => {
  await model.close();
  rmSync(folder, { recursive: true });
});

it('the index names each example, and each is a page long', () => {
  const examples = new URL('../../examples/', import.meta.url);
  const index = readFileSync(new URL('README.md', examples), 'utf8');
  const files = readdirSync(examples).filter((file) => file !== 'README.md');
  expect(files).toHaveLength(10);
  for (const file of files) {
    expect(index).toContain(`[${file}](${file})`);
    expect(readFileSync(new URL(file, examples), 'utf8').split('\n').length, file).toBeLessThanOrEqual(70);
  }
});

it('one-file', async () => {
  expect(await explainFile(photo('coffee.jpg'), out('overlay.png'))).toBe('espresso');
  await using direct = await Model.load('efficientnet-lite0');
  const [explained] = await direct.explain(photo('coffee.jpg'), { method: 'cam' });
  const expected = await explained!.maps[0]!.overlay({ legend: true }).toBuffer();
  const pixels = (picture: string | Buffer): Promise<Buffer> => sharp(picture).raw().toBuffer();
  expect((await pixels(out('overlay.png'))).equals(await pixels(expected))).toBe(true);
});

it('worker-pool gives what this thread gives, in order', async () => {
  const paths = pictures.map(picture);
  const expected = await model.explain(paths, { method: 'grad-cam' });
  const found = await explainInWorkers(paths, 2);
  expect(found.map(({ image, label }) => [image, label])).toEqual(
    expected.map(({ maps }, i) => [paths[i], maps[0]!.target.label]),
  );
  const meanOf = (data: Float32Array): number => data.reduce((sum, value) => sum + value, 0) / data.length;
  for (const [i, { mean }] of found.entries()) {
    await expectRounded([mean], [meanOf(expected[i]!.maps[0]!.data)], paths[i]!, {
      model,
      again: async (seed) => {
        const pixels = nudged(await pixelsOf(model, paths[i]!), seed);
        return [meanOf((await model.explain(pixels, { method: 'grad-cam' }))[0]!.maps[0]!.data)];
      },
    });
  }
});

it('folder writes overlays and a table, and passes broken files by', async () => {
  const from = temporary();
  for (const name of pictures) copyFileSync(picture(name), path.join(from, name));
  writeFileSync(path.join(from, 'broken.jpg'), 'no picture');
  const written = out('folder');
  expect(await explainFolder(model, from, written)).toEqual({ done: 3, refused: ['broken.jpg'] });
  rmSync(from, { recursive: true });
  expect(readdirSync(written).sort()).toEqual([...pictures.map((name) => `${name}.png`), 'predictions.csv']);
  const [head, ...rows] = readFileSync(path.join(written, 'predictions.csv'), 'utf8').trim().split('\n');
  expect(head).toBe('file,label,score,peak row,peak column');
  const expected = await model.explain(pictures.map(picture), { method: 'grad-cam' });
  const lines = expected.map(
    ({ maps: [map] }, i) =>
      `"${pictures[i]!}","${map!.target.label}",${map!.target.score.toFixed(4)},${map!.peak().row},${map!.peak().column}`,
  );
  expect(rows.sort()).toEqual(lines);
});

it('own-method: what speaks for and against make up the whole', async () => {
  const [both, pro, contra] = await Promise.all(
    (['both', 'for', 'against'] as const).map((of) => evidence(model, picture('000.png'), of)),
  );
  expect(both!.some((value) => value < 0)).toBe(true);
  expect(Array.from(pro!, (value, i) => value - contra![i]!)).toEqual(Array.from(both!));
  const [hiResCam] = await model.explain(picture('000.png'), { method: 'hires-cam', size: 'grid', raw: true });
  await expectRounded(pro!, hiResCam!.maps[0]!.data, 'what speaks for', {
    model,
    again: async (seed) => {
      const pixels = nudged(await pixelsOf(model, picture('000.png')), seed);
      return (await model.explain(pixels, { method: 'hires-cam', size: 'grid', raw: true }))[0]!.maps[0]!.data;
    },
  });
});

it('segmentation-score: only the region counts', async () => {
  const segmenter = await Model.load(archivePath('linear-mask'), { device: 'cpu', card: plainCard(8, 8) });
  const image = randomTensor(1, 8, 8, 7);
  const { score, map } = await explainRegion(segmenter, image, 0, { top: 2, left: 1, height: 3, width: 4 });
  await segmenter.close();
  const inside = (i: number): boolean => Math.floor(i / 8) >= 2 && Math.floor(i / 8) < 5 && i % 8 >= 1 && i % 8 < 5;
  // Class 0 weighs red, green and blue by 1, -2 and 3, and adds 0.25; the map is the largest of the three.
  // Whole weights times ones and zeros round nothing.
  expectWithin(
    map,
    Array.from(map, (_, i) => (inside(i) ? 3 : 0)),
    0,
    0,
  );
  let expected = 12 * 0.25;
  let size = expected;
  for (let i = 0; i < 64; i++) {
    if (inside(i)) {
      const parts = [1, -2, 3].map((weight, channel) => weight * image.data[64 * channel + i]!);
      expected += parts.reduce((sum, part) => sum + part, 0);
      size += parts.reduce((sum, part) => sum + Math.abs(part), 0);
    }
  }
  // Each of the twelve places adds up three products and a bias, and then there are the other eleven.
  expectWithin([score], [expected], 3 + 3 + 11, size);
});

describe('video-frames', () => {
  it('gives each frame its own map, in order, however the stream is cut', async () => {
    const frames = await Promise.all(
      pictures.map((name) => sharp(picture(name)).resize(64, 64).removeAlpha().raw().toBuffer()),
    );
    const whole = Buffer.concat([...frames, ...frames, frames[0]!.subarray(0, 100)]);
    const chunks = Array.from({ length: Math.ceil(whole.length / 5000) }, (_, i) =>
      whole.subarray(5000 * i, 5000 * (i + 1)),
    );
    const maps: Float32Array[] = [];
    for await (const {
      maps: [map],
    } of explainFrames(model, Readable.from(chunks), 64, 64)) {
      maps.push(map!.data);
    }
    expect(maps).toHaveLength(6);
    for (const [i, data] of maps.entries()) {
      const frame = { data: frames[i % 3]!, width: 64, height: 64, channels: 3 } as const;
      const [expected] = await model.explain(frame, { method: 'grad-cam' });
      await expectRounded(data, expected!.maps[0]!.data, `frame ${i}`, {
        model,
        again: async (seed) => {
          const pixels = nudged(await pixelsOf(model, frame), seed);
          return (await model.explain(pixels, { method: 'grad-cam', size: 'image' }))[0]!.maps[0]!.data;
        },
      });
    }
  });
});

it('contact-sheet sets each overlay in its place', async () => {
  await compareMethods(model, [picture('000.png'), picture('001.png')], ['grad-cam', 'gradient'], out('sheet.png'));
  const { data, info } = await sharp(out('sheet.png')).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const cell = 192;
  // Two columns, a gap of 12 between them, margins of 22.
  expect(info.width).toBe(22 + cell + 12 + cell + 22);
  const explained = await model.explain(picture('000.png'), [{ method: 'grad-cam' }, { method: 'gradient' }]);
  for (const [column, { maps }] of explained[0]!.entries()) {
    const overlay = await sharp(await maps[0]!.overlay().toBuffer())
      .resize(cell)
      .removeAlpha()
      .raw()
      .toBuffer();
    const distance = (top: number): number => {
      let sum = 0;
      for (let y = 0; y < cell; y += 8) {
        for (let x = 0; x < 3 * cell; x++) {
          sum += Math.abs(
            data[3 * ((top + y) * info.width + 22 + column * (cell + 12)) + x]! - overlay[3 * y * cell + x]!,
          );
        }
      }
      return sum / (3 * cell * (cell / 8));
    };
    const nearest = Math.min(...Array.from({ length: 120 }, (_, top) => distance(top)));
    expect(nearest).toBeLessThan(4);
  }
});

it('benchmark measures each method against the forward pass', async () => {
  const costs = await costOf('resnet-tiny-shapes', ['cam', 'gradient'], 2);
  expect(Object.keys(costs).sort()).toEqual(['cam', 'forward', 'gradient']);
  expect(costs['forward']).toBe(1);
  for (const cost of Object.values(costs)) expect(cost).toBeGreaterThan(0);
});
