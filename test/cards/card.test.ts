import { createHash } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import {
  cardPathFor,
  defaultCard,
  parseCard,
  readCardFor,
  resolveLabels,
  type ModelCard,
} from '../../lib/models/card.js';
import { hashFile, verifyHash } from '../../lib/models/file-hash.js';

const good = {
  name: 'tiny',
  description: 'a model',
  archive: 'tiny.pt',
  sha256: 'ab'.repeat(32),
  input: {
    width: 224,
    height: 224,
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
    resize: { mode: 'shorter-side', size: 256 },
    interpolation: 'bilinear',
    crop: 'center',
  },
  labels: ['cat', 'dog'],
  source: 'trained here',
  license: 'Apache-2.0',
  targetLayer: 'layer4',
  training: { accuracy: 0.99, seeds: [1, 2] },
};

const withInput = (changes: Record<string, unknown>) => ({ ...good, input: { ...good.input, ...changes } });
const without = (key: keyof typeof good) => Object.fromEntries(Object.entries(good).filter(([each]) => each !== key));

describe('parseCard', () => {
  it('keeps every field, from text or from a value', () => {
    expect(parseCard(good, 'tiny.json')).toEqual(good);
    expect(parseCard(JSON.stringify(good), 'tiny.json')).toEqual(good);
  });

  it('takes a card of name and input alone, an exact resize without a crop, and a list by name', () => {
    expect(parseCard({ name: good.name, input: good.input }, 'x').labels).toBeUndefined();
    expect(parseCard(withInput({ resize: { mode: 'exact', size: [224, 224] }, crop: 'none' }), 'x').input.crop).toBe(
      'none',
    );
    expect(parseCard(withInput({ resize: { mode: 'exact', size: 224 }, crop: 'none' }), 'x').input.resize.size).toBe(
      224,
    );
    expect(parseCard({ ...good, labels: 'imagenet-1k' }, 'x').labels).toBe('imagenet-1k');
  });

  it.each([
    ['a missing field', without('input'), 'The model card m/x.json is wrong at "input": it is missing.'],
    [
      'a missing enum',
      withInput({ crop: undefined }),
      'The model card m/x.json is wrong at "input.crop": it is missing.',
    ],
    [
      'a wrong type',
      withInput({ width: '224' }),
      'The model card m/x.json is wrong at "input.width": number is expected, not "224".',
    ],
    [
      'a wrong item',
      withInput({ mean: [0.5, null, 0.5] }),
      'The model card m/x.json is wrong at "input.mean[1]": number is expected, not null.',
    ],
    [
      'an unknown choice',
      withInput({ interpolation: 'lanczos' }),
      'The model card m/x.json is wrong at "input.interpolation": "bilinear" or "bicubic" is expected, not "lanczos".',
    ],
    [
      'a misspelled field',
      { ...good, lables: ['a'] },
      'The model card m/x.json is wrong at its top level: there is no field "lables".',
    ],
    [
      'a misspelled inner field',
      withInput({ means: [0, 0, 0] }),
      'The model card m/x.json is wrong at "input": there is no field "means".',
    ],
    [
      'labels of a wrong kind',
      { ...good, labels: 7 },
      'The model card m/x.json is wrong at "labels": 7 has none of the allowed forms.',
    ],
    [
      'a hash that is none',
      { ...good, sha256: 'XYZ' },
      'The model card m/x.json is wrong at "sha256": 64 hexadecimal digits in lower case are expected.',
    ],
    [
      'a resize below the crop',
      withInput({ resize: { mode: 'shorter-side', size: 200 } }),
      'The model card m/x.json is wrong at "input.resize.size": at least the 224 x 224 of the crop is expected.',
    ],
    [
      'a pair for the shorter side',
      withInput({ resize: { mode: 'shorter-side', size: [256, 256] } }),
      'The model card m/x.json is wrong at "input.resize.size": one number, the length of the shorter side, is expected.',
    ],
    [
      'no crop where one is needed',
      withInput({ crop: 'none' }),
      'The model card m/x.json is wrong at "input.crop": without a crop, resize must be "exact" to [224, 224].',
    ],
    ['an array', [], 'The model card m/x.json is wrong at its top level: object is expected, not [].'],
  ])('refuses %s', (_what, card, message) => {
    expect(() => parseCard(card, 'm/x.json')).toThrow(expect.objectContaining({ code: 'INVALID_CARD', message }));
  });

  it('refuses a zero deviation, which would divide by zero', () => {
    expect(() => parseCard(withInput({ std: [0.2, 0, 0.2] }), 'x.json')).toThrow(
      expect.objectContaining({ code: 'INVALID_CARD', message: expect.stringContaining('"input.std[1]"') }),
    );
  });

  it('refuses what is not JSON, and names the file', () => {
    expect(() => parseCard('{ "name": ', 'm/x.json')).toThrow(
      expect.objectContaining({
        code: 'INVALID_CARD',
        message: expect.stringMatching(/^The model card m\/x\.json is not JSON: /),
      }),
    );
  });
});

describe('readCardFor', () => {
  it('finds NAME.json beside NAME.pt, and nothing where there is none', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sightline-'));
    const archive = join(folder, 'tiny.v2.pt');
    expect(await readCardFor(archive)).toBeNull();
    await writeFile(join(folder, 'tiny.v2.json'), JSON.stringify(good));
    expect(await readCardFor(archive)).toEqual({ card: good, from: join(folder, 'tiny.v2.json') });
    await writeFile(join(folder, 'tiny.v2.json'), '{}');
    await expect(readCardFor(archive)).rejects.toEqual(
      expect.objectContaining({ code: 'INVALID_CARD', message: expect.stringContaining(folder) }),
    );
    expect(cardPathFor('a/b.pt')).toBe(join('a', 'b.json'));
  });
});

describe('defaultCard', () => {
  it('is ImageNet at 224 and keeps the proportion of 256 to 224 elsewhere', () => {
    const card = defaultCard('models/resnet50.pt');
    expect(card).toEqual({ name: 'resnet50', input: { ...good.input } });
    expect(defaultCard('x.pt', 384, 384).input.resize).toEqual({ mode: 'shorter-side', size: 439 });
    // What is assumed must be a card that would be accepted, at every size.
    for (const [width, height] of [
      [224, 224],
      [32, 32],
      [224, 320],
      [1, 1],
    ] as const) {
      const assumed = defaultCard('x.pt', width, height);
      expect(parseCard(assumed, 'x')).toEqual(assumed);
    }
  });
});

describe('resolveLabels', () => {
  const card = good as unknown as ModelCard;

  it("gives the card's own labels, and refuses another number of classes", async () => {
    expect(await resolveLabels(card, 2)).toEqual(['cat', 'dog']);
    await expect(resolveLabels(card, 3)).rejects.toEqual(
      expect.objectContaining({
        code: 'INVALID_CARD',
        message: 'The card of tiny has 2 labels, but the model has 3 classes.',
      }),
    );
    await expect(resolveLabels({ ...card, labels: 'imagenet-1k' }, 10)).rejects.toEqual(
      expect.objectContaining({
        code: 'INVALID_CARD',
        message: expect.stringContaining('1000 labels, but the model has 10'),
      }),
    );
  });

  it('gives ImageNet labels to 1000 classes and numbers to others', async () => {
    const bare = defaultCard('x.pt');
    const imagenet = await resolveLabels(bare, 1000);
    expect(imagenet).toHaveLength(1000);
    expect([imagenet[0], imagenet[203], imagenet[243], imagenet[999]]).toEqual([
      'tench',
      'West Highland white terrier',
      'bull mastiff',
      'toilet tissue',
    ]);
    expect(await resolveLabels(bare, 3)).toEqual(['class 0', 'class 1', 'class 2']);
  });
});

describe('hashes', () => {
  it('hashFile streams, and verifyHash names both hashes', async () => {
    const path = join(await mkdtemp(join(tmpdir(), 'sightline-')), 'm.pt');
    const bytes = Buffer.alloc(3_000_001, 'sightline');
    await writeFile(path, bytes);
    const expected = createHash('sha256').update(bytes).digest('hex');
    expect(await hashFile(path)).toBe(expected);
    const card = { ...(good as unknown as ModelCard), sha256: expected };
    await expect(verifyHash(path, card)).resolves.toBeUndefined();
    await expect(verifyHash(path, { ...card, sha256: 'ab'.repeat(32) })).rejects.toEqual(
      expect.objectContaining({
        code: 'WRONG_HASH',
        message: expect.stringMatching(new RegExp(`m\\.pt is not the file.*${expected}.*${'ab'.repeat(32)}`)),
      }),
    );
    await expect(verifyHash('nowhere.pt', defaultCard('nowhere.pt'))).resolves.toBeUndefined();
    await expect(hashFile('nowhere.pt')).rejects.toEqual(expect.objectContaining({ code: 'FILE_NOT_FOUND' }));
    await expect(hashFile(path, { signal: AbortSignal.abort() })).rejects.toEqual(
      expect.objectContaining({ code: 'ABORTED' }),
    );
  });
});
