import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { decodeNpy, encodeNpy, Model } from '../../lib/index.js';
import {
  answerOf,
  archiveIn,
  DEMO,
  fileFolder,
  sightline,
  sightlineIn,
  temporaryFolder,
  useBuiltCommand,
} from './command.js';

interface Answer {
  results: {
    image: string;
    model: string;
    method: string;
    options: Record<string, unknown>;
    predictions: { index: number; label: string; score: number }[];
    maps: {
      target: { index: number; label: string };
      layer: string | null;
      shape: number[];
      min: number;
      max: number;
      state: string;
      overlay?: string;
      raw?: string;
    }[];
  }[];
}

const PICTURE = path.join(DEMO, 'disc-and-flower.png');
const CNN = ['--model', 'resnet-tiny-shapes', '--method', 'cam', '--device', 'cpu'];
const folder = fileFolder();
const vit = archiveIn(folder, 'timm-vit-fused-traced', 40, 24);

useBuiltCommand();

const floats = (file: string): { data: Float32Array; shape: readonly number[] } => {
  const array = decodeNpy(readFileSync(file), file);
  expect(array.dtype).toBe('float32');
  return array as { data: Float32Array; shape: readonly number[] };
};

describe('explain of a CNN', () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
  });
  afterAll(() => model.close());

  it('gives the predictions and maps of the library, as JSON, overlays and .npy', async () => {
    const out = path.join(temporaryFolder(), 'made', 'anew');
    const { results } = await answerOf<Answer>('explain', PICTURE, ...CNN, '--target', 'top2', '--raw', '--out', out);
    const [expected] = await model.explain(PICTURE, { method: 'cam', targets: ['top2'], raw: true });

    expect(results).toHaveLength(1);
    const [result] = results;
    expect(result).toMatchObject({ image: PICTURE, model: 'resnet-tiny-shapes', method: 'cam', options: {} });
    expect(result!.predictions).toEqual(expected!.predictions);
    expect(result!.maps).toHaveLength(2);
    for (const [i, map] of result!.maps.entries()) {
      const { target, layer, shape, min, max, data } = expected!.maps[i]!;
      expect(map).toMatchObject({
        target: { index: target.index, label: target.label },
        layer,
        shape: [224, 224],
        min,
        max,
        state: 'ok',
      });
      const raw = floats(map.raw!);
      expect(raw.shape).toEqual(shape);
      expect(raw.data).toEqual(data);
      const { format, width, height } = await sharp(map.overlay).metadata();
      expect({ format, width, height }).toEqual({ format: 'png', width: 480, height: 360 });
    }
    expect(readdirSync(out).sort()).toEqual([
      'disc-and-flower-cam-rayed-flower.npy',
      'disc-and-flower-cam-rayed-flower.png',
      'disc-and-flower-cam-striped-disc.npy',
      'disc-and-flower-cam-striped-disc.png',
    ]);
  });

  it('takes targets by index and label, layers, and the size of the grid', async () => {
    const { results } = await answerOf<Answer>(
      ...['explain', PICTURE, '--model', 'resnet-tiny-shapes', '--method', 'grad-cam', '--device', 'cpu'],
      ...['--target', '9', '--target', 'Striped Disc', '--layer', 'layer3', '--size', 'grid'],
    );
    const [expected] = await model.explain(PICTURE, {
      method: 'grad-cam',
      targets: [9, 0],
      layer: 'layer3',
      size: 'grid',
    });
    expect(results[0]!.maps).toEqual(
      expected!.maps.map(({ target: { index, label }, min, max }) => ({
        target: { index, label },
        layer: 'layer3',
        shape: [14, 14],
        min,
        max,
        state: 'ok',
        figures: {},
      })),
    );
    expect(results[0]!.maps.map(({ target }) => target.label)).toEqual(['rayed flower', 'striped disc']);
  });

  it('averages several layers', async () => {
    const { results } = await answerOf<Answer>(
      'explain',
      PICTURE,
      '--model',
      'resnet-tiny-shapes',
      '--method',
      'grad-cam',
      '--layer',
      'layer3',
      '--layer',
      'layer4',
      '--device',
      'cpu',
    );
    const [expected] = await model.explain(PICTURE, { method: 'grad-cam', layer: ['layer3', 'layer4'] });
    expect(results[0]!.maps[0]).toMatchObject({
      layer: 'layer3, layer4',
      min: expected!.maps[0]!.min,
      max: expected!.maps[0]!.max,
    });
  });

  it('overwrites no overlay of another image of the same name', async () => {
    const out = temporaryFolder();
    const other = path.join(out, 'other');
    mkdirSync(other);
    copyFileSync(path.join(DEMO, 'star-and-hexagon.png'), path.join(other, 'disc-and-flower.png'));
    const { results } = await answerOf<Answer>(
      'explain',
      PICTURE,
      path.join(other, 'disc-and-flower.png'),
      ...CNN,
      '--target',
      'striped disc',
      '--out',
      out,
    );
    const files = results.flatMap(({ maps }) => maps.map(({ overlay }) => overlay!));
    expect(files.map((file) => path.basename(file))).toEqual([
      'disc-and-flower-cam-striped-disc.png',
      'disc-and-flower-cam-striped-disc-2.png',
    ]);
    expect(readFileSync(files[0]!).equals(readFileSync(files[1]!))).toBe(false);
  });

  it('obeys the options of overlays', async () => {
    const out = temporaryFolder();
    const overlays = async (...options: string[]): Promise<Buffer> => {
      const { results } = await answerOf<Answer>('explain', PICTURE, ...CNN, '--out', out, ...options);
      return sharp(results[0]!.maps[0]!.overlay).raw().toBuffer();
    };
    const original = await sharp(PICTURE).raw().toBuffer();
    expect((await overlays('--opacity', '0')).equals(original)).toBe(true);
    expect((await overlays('--colormap', 'inferno')).equals(await overlays('--colormap', 'viridis'))).toBe(false);
    const { results } = await answerOf<Answer>(
      'explain',
      PICTURE,
      ...CNN,
      '--out',
      out,
      '--legend',
      '--title',
      '{target} {score} of {image} by {method}',
    );
    const { width, height } = await sharp(results[0]!.maps[0]!.overlay).metadata();
    expect(width).toBeGreaterThan(480);
    expect(height).toBeGreaterThan(360);
  });

  it('tells people the same in words', async () => {
    const { code, stdout, stderr } = await sightline('explain', PICTURE, ...CNN, '--out', temporaryFolder());
    expect(code).toBe(0);
    expect(stderr).toBe('');
    const [expected] = await model.explain(PICTURE, { method: 'cam' });
    const { row, column } = expected!.maps[0]!.peak();
    expect(stdout).toContain(
      `predicted: striped disc ${(100 * expected!.predictions[0]!.score).toFixed(1)} %, rayed flower`,
    );
    expect(stdout).toContain(`cam of layer4, for striped disc (class 0): peak at x ${column}, y ${row} of 224 x 224`);
  });
});

describe('explain of nothing but a photo', () => {
  const PHOTO = path.join(DEMO, 'photos', 'coffee.jpg');

  it('names what is on it by the ImageNet model, and puts the overlay of its CAM where it says', async () => {
    const here = temporaryFolder();
    const { code, stdout, stderr } = await sightlineIn(here, 'explain', PHOTO);
    expect({ code, stderr: stderr.replace(/^sightline: note: No CUDA GPU .*\n/, '') }).toEqual({ code: 0, stderr: '' });
    const overlay = path.join('sightline-out', 'coffee-cam-espresso.png');
    expect(stdout).toMatch(/^ {2}predicted: espresso 9\d\.\d %, cup /m);
    expect(stdout).toMatch(/^ {2}cam of last_conv, for espresso \(class 967\): peak at /m);
    expect(stdout).toContain(overlay);
    expect((readdirSync(here, { recursive: true }) as string[]).sort()).toEqual(['sightline-out', overlay]);
    expect(await sharp(path.join(here, overlay)).metadata()).toMatchObject({ format: 'png', width: 600, height: 400 });
  });

  it('writes no file for programs that ask for none', async () => {
    const here = temporaryFolder();
    const { code, stdout } = await sightlineIn(here, 'explain', PHOTO, '--json');
    expect(code).toBe(0);
    const { results } = JSON.parse(stdout) as Answer;
    expect(results[0]).toMatchObject({
      model: 'efficientnet-lite0',
      method: 'cam',
      maps: [{ target: { index: 967, label: 'espresso' } }],
    });
    expect(results[0]!.maps[0]).not.toHaveProperty('overlay');
    expect(readdirSync(here)).toEqual([]);
  });

  it('leaves no folder behind where nothing could be explained', async () => {
    const here = temporaryFolder();
    expect((await sightlineIn(here, 'explain', 'none.jpg')).code).toBe(2);
    expect(readdirSync(here)).toEqual([]);
  });
});

describe('explain of a ViT', () => {
  it('is by attention rollout where no method is named', async () => {
    const { results } = await answerOf<Answer>('explain', PICTURE, '--model', vit, '--device', 'cpu');
    expect(results[0]).toMatchObject({ model: vit, method: 'attention-rollout' });
  });

  const ROLLOUT = ['--model', vit, '--method', 'attention-rollout', '--device', 'cpu'];

  it('hands the method its own options', async () => {
    const { results } = await answerOf<Answer>(
      'explain',
      PICTURE,
      ...ROLLOUT,
      '--option',
      'headFusion=max',
      '--option',
      'discardRatio=0.5',
      '--size',
      'grid',
      '--raw',
      '--out',
      temporaryFolder(),
    );
    expect(results[0]!.options).toMatchObject({ headFusion: 'max', discardRatio: 0.5, startBlock: 0 });
    await using model = await Model.load(vit, { device: 'cpu' });
    const [expected] = await model.explain(PICTURE, {
      method: 'attention-rollout',
      headFusion: 'max',
      discardRatio: 0.5,
      size: 'grid',
      raw: true,
    });
    expect(floats(results[0]!.maps[0]!.raw!).data).toEqual(expected!.maps[0]!.data);
    expect(results[0]!.maps[0]!.layer).toBeNull();
  });

  it('paints a raw map over its whole range of colours, though all of its values are small', async () => {
    const out = temporaryFolder();
    const paint = async (...options: string[]): Promise<Buffer> => {
      const { results } = await answerOf<Answer>(
        'explain',
        PICTURE,
        ...ROLLOUT,
        '--opacity',
        '1',
        '--out',
        path.join(out, String(options.length)),
        ...options,
      );
      return sharp(results[0]!.maps[0]!.overlay).raw().toBuffer();
    };
    const [scaled, raw] = [await paint(), await paint('--raw')];
    // The two differ in rounding only, by which a colour may be the next one of its table.
    let furthest = 0;
    scaled.forEach((value, i) => (furthest = Math.max(furthest, Math.abs(value - raw[i]!))));
    expect(furthest).toBeLessThanOrEqual(12);
  });

  it('takes a .npy of N images as it is, and writes maps that numpy reads', async () => {
    const out = temporaryFolder();
    const images = {
      data: Float32Array.from({ length: 2 * 3 * 24 * 40 }, (_, i) => Math.sin(i * 0.37)),
      shape: [2, 3, 24, 40],
    };
    const file = path.join(out, 'batch.npy');
    writeFileSync(file, encodeNpy(images));
    const { results } = await answerOf<Answer>('explain', file, ...ROLLOUT, '--raw', '--out', out);
    await using model = await Model.load(vit, { device: 'cpu' });
    const expected = await model.explain(images, { method: 'attention-rollout', raw: true });
    expect(results.map(({ image }) => image)).toEqual([`${file}[0]`, `${file}[1]`]);
    for (const [i, { predictions, maps }] of results.entries()) {
      expect(predictions).toEqual(expected[i]!.predictions);
      expect(floats(maps[0]!.raw!)).toMatchObject({ data: expected[i]!.maps[0]!.data, shape: [24, 40] });
      expect(existsSync(maps[0]!.overlay!)).toBe(true);
    }
    expect(readFileSync(results[0]!.maps[0]!.raw!).subarray(0, 6).toString('latin1')).toBe('\x93NUMPY');
  });

  it('says of a method that knows no classes that it knows none', async () => {
    const { stdout } = await sightline('explain', PICTURE, ...ROLLOUT, '--out', temporaryFolder());
    expect(stdout).toContain('attention-rollout, whatever the class: peak at');
  });
});
