import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model } from '../../lib/index.js';
import { readPhotos } from '../../lib/demo/pictures.js';
import { peakOf } from '../../lib/demo/peak.js';
import { BUNDLED_MODELS } from '../../lib/models/labels.js';
import { loadSmall, plainCard, randomTensor } from '../support/models.js';

const NAME = 'efficientnet-lite0';
/** Written by models/efficientnet_lite0.py: what the model sees of each photo, and the float32 original's logits. */
const REFERENCES = path.join(import.meta.dirname, NAME);
const references = JSON.parse(readFileSync(path.join(REFERENCES, 'logits.json'), 'utf8')) as {
  file: string;
  logits: number[];
}[];
const photos = await readPhotos();

/** Weights in float16 move logits by so much at the most. */
const FURTHEST = 0.02;

let model: Model;
beforeAll(async () => {
  model = await Model.load(NAME, { device: 'cpu' });
});
afterAll(() => model.close());

/** (value - 127) / 128, as the original is fed. */
async function pixelsOf(file: string): Promise<{ data: Float32Array; shape: number[] }> {
  const { data, info } = await sharp(path.join(REFERENCES, file))
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const area = info.width * info.height;
  return {
    data: Float32Array.from({ length: 3 * area }, (_, i) => (data[3 * (i % area) + Math.floor(i / area)]! - 127) / 128),
    shape: [1, 3, info.height, info.width],
  };
}

describe('the bundled ImageNet model', () => {
  it.each(references)("gives the original's logits for $file", async ({ file, logits }) => {
    const { features } = await model.capture(await pixelsOf(file), { features: ['classifier'] });
    const found = Array.from(features['classifier']!.data);
    expect(found).toHaveLength(1000);
    // So different are the classes that a logit in a wrong place would be far off.
    expect(Math.max(...logits) - Math.min(...logits)).toBeGreaterThan(5);
    expect(Math.max(...found.map((value, i) => Math.abs(value - logits[i]!)))).toBeLessThanOrEqual(FURTHEST);
  });

  it.each(photos)('names what is on $file, and its CAM peaks there', async (photo) => {
    const [explained] = await model.explain(photo.path, { method: 'cam' });
    const map = explained!.maps[0]!;
    expect(explained!.predictions[0]!.label).toBe(photo.labels[0]);
    expect(map.layer).toBe('last_conv');
    expect(peakOf(map, photo, model.card.input).object).toBe(photo.labels[0]);
  });

  it.each(photos)('sees $file by other methods of its family at the same object', async (photo) => {
    const [byMethod] = await model.explain(
      [photo.path],
      [{ method: 'grad-cam' }, { method: 'grad-cam++' }, { method: 'layer-cam' }],
    );
    for (const { maps } of byMethod!) expect(peakOf(maps[0]!, photo, model.card.input).object).toBe(photo.labels[0]);
  });

  it('has the head that makes CAM exact, and no attention', async () => {
    const { head, targetLayer, tokens, attention, classes, parameters, flops, canBatch, methods, nodes } =
      await model.inspect();
    expect({ head, targetLayer, tokens, attention, classes, canBatch }).toEqual({
      head: { feature: 'last_conv', layout: 'channels-first', channels: 1280 },
      targetLayer: 'last_conv',
      tokens: null,
      attention: [],
      classes: 1000,
      canBatch: true,
    });
    expect({ parameters, flops }).toEqual({ parameters: model.card.parameters, flops: model.card.flops });
    expect(nodes.find(({ name }) => name === 'last_conv')?.shape).toEqual([1, 1280, 7, 7]);
    const applying = methods.filter(({ applies }) => applies).map(({ name }) => name);
    expect(applying).toEqual(expect.arrayContaining(['cam', 'grad-cam', 'full-grad', 'integrated-gradients', 'rise']));
    expect(applying).not.toContain('attention-rollout');
  });

  it('computes in float32, though its weights lie in float16', () => {
    // Parameters and the statistics of batch norms, four bytes each, where no norm was folded.
    expect(model.weightBytes).toBeGreaterThan(4 * 4_600_000);
  });

  it('takes the ImageNet labels, and a card of the user that says nothing of its architecture', async () => {
    expect(model.labels[281]).toBe('tabby');
    await using own = await Model.load(NAME, { device: 'cpu', card: plainCard(224, 224) });
    expect(own.card.input.mean).toEqual([0, 0, 0]);
    expect(own.labels).toEqual(model.labels);
  });
});

describe('weights that are not those of the card', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'weights-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('are refused by their hash', async () => {
    for (const ending of ['safetensors', 'json']) {
      copyFileSync(path.join(BUNDLED_MODELS, `${NAME}.${ending}`), path.join(folder, `${NAME}.${ending}`));
    }
    const file = path.join(folder, `${NAME}.safetensors`);
    // Closed before the file changes: its float32 tensors are mapped, not copied.
    await (await Model.load(file, { device: 'cpu' })).close();
    const bytes = readFileSync(file);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
    await expect(Model.load(file, { device: 'cpu' })).rejects.toMatchObject({
      code: 'WRONG_HASH',
      message: expect.stringMatching(/SHA-256/),
    });
  });
});

describe('explain without a method', () => {
  it('takes CAM where the model pools into one linear layer', async () => {
    const [explained] = await model.explain(photos[0]!.path);
    const [expected] = await model.explain(photos[0]!.path, { method: 'cam' });
    expect(explained!.method).toBe('cam');
    expect(explained!.maps[0]!.data).toEqual(expected!.maps[0]!.data);
  });

  it.each([
    ['timm-vit-fused-traced', 24, 40, 'attention-rollout'],
    ['conv-net', 32, 48, 'grad-cam'],
  ] as const)('explains %s by what suits it', async (name, height, width, method) => {
    await using small = await loadSmall(name);
    const [explained] = await small.explain(randomTensor(1, height, width), { targets: [1], size: 'grid' });
    expect(explained!.method).toBe(method);
    expect(explained!.maps[0]!.target.index).toBe(1);
  });

  it('refuses what is no object of options, and an empty list', async () => {
    await expect(model.explain(photos[0]!.path, 'cam' as never)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await expect(model.explain(photos[0]!.path, [] as never)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });
});
