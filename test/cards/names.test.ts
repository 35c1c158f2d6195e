import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { beforeAll, describe, expect, it } from 'vitest';

import { resolveModel } from '../../lib/model/locate.js';
import { bundledNames } from '../../lib/models/bundled.js';
import { defaultCard } from '../../lib/models/card.js';
import { editDistance, nearestNames, suggestion } from '../../lib/support/nearest.js';

describe('nearest names', () => {
  it.each([
    ['', '', 0],
    ['abc', '', 3],
    ['kitten', 'sitting', 3],
    ['gard-cam', 'grad-cam', 1],
    ['layer5', 'layer4', 1],
    ['flaw', 'lawn', 2],
  ])('from "%s" to "%s" are %i edits', (a, b, edits) => {
    expect(editDistance(a, b)).toBe(edits);
    expect(editDistance(b, a)).toBe(edits);
  });

  const methods = ['cam', 'grad-cam', 'raw-attention', 'attention-rollout', 'gradient-rollout', 'gae'];

  it('puts the nearest first, ignores case and gives nothing for a far one', () => {
    expect(nearestNames('gard-cam', methods)).toEqual(['grad-cam']);
    expect(nearestNames('rollout', methods)).toEqual(['attention-rollout', 'gradient-rollout']);
    expect(nearestNames('GAE', methods)).toEqual(['gae']);
    expect(nearestNames('zzzzzz', methods)).toEqual([]);
    expect(nearestNames('', methods)).toEqual([]);
  });

  it('becomes a sentence', () => {
    expect(suggestion('layer5', ['layer4', 'layer3', 'conv1'])).toBe('Did you mean "layer3" or "layer4"?');
    expect(suggestion('zzzzzz', ['layer4', 'conv1'])).toBe('Known: layer4 and conv1.');
    expect(
      suggestion(
        'zzzzzz',
        Array.from({ length: 20 }, (_, i) => `l${i}`),
      ),
    ).toMatch(/^Known: l0, .*, l11 and 8 more\.$/);
    expect(suggestion('x', [])).toBe('');
  });
});

describe('resolveModel', () => {
  let folder: string;
  const error = (code: string, message: RegExp) =>
    expect.objectContaining({ code, message: expect.stringMatching(message) });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sightline-'));
    for (const name of ['vit-tiny-shapes', 'resnet-tiny-shapes']) {
      await writeFile(join(folder, `${name}.pt`), 'archive');
      await writeFile(join(folder, `${name}.json`), JSON.stringify({ ...defaultCard(name), name }));
    }
    await writeFile(join(folder, 'card-alone.json'), '{}');
    await writeFile(join(folder, 'bare.pt'), 'archive');
    await writeFile(join(folder, 'net.safetensors'), 'weights');
    await writeFile(
      join(folder, 'net.json'),
      JSON.stringify({ ...defaultCard('net'), name: 'net', architecture: 'test_vit' }),
    );
    await mkdir(join(folder, 'labels'));
  });

  it('lists cards that have their archive or their weights', async () => {
    expect(await bundledNames(folder)).toEqual(['net', 'resnet-tiny-shapes', 'vit-tiny-shapes']);
    expect(await bundledNames(join(folder, 'none'))).toEqual([]);
  });

  it('takes a bundled name', async () => {
    const found = await resolveModel('vit-tiny-shapes', folder);
    expect(found).toMatchObject({
      archive: join(folder, 'vit-tiny-shapes.pt'),
      cardPath: join(folder, 'vit-tiny-shapes.json'),
      bundled: true,
    });
    expect(found.card?.name).toBe('vit-tiny-shapes');
  });

  it('takes the name of a bundled model that is weights for a skeleton', async () => {
    const found = await resolveModel('net', folder);
    expect(found).toMatchObject({
      archive: join(folder, 'net.safetensors'),
      cardPath: join(folder, 'net.json'),
      bundled: true,
    });
  });

  it('takes a path, with and without a card', async () => {
    expect(await resolveModel(join(folder, 'bare.pt'), folder)).toEqual({
      archive: join(folder, 'bare.pt'),
      card: null,
      cardPath: null,
      bundled: false,
    });
    expect((await resolveModel(join(folder, 'resnet-tiny-shapes.pt'), folder)).card?.name).toBe('resnet-tiny-shapes');
  });

  it('suggests for an unknown name', async () => {
    await expect(resolveModel('vit-tiny-shape', folder)).rejects.toEqual(
      error(
        'UNKNOWN_MODEL',
        /^There is no model "vit-tiny-shape", neither bundled, nor in the catalog, nor as a file\. Did you mean "vit-tiny-shapes"\?$/,
      ),
    );
    await expect(resolveModel('qqq', folder)).rejects.toEqual(
      error('UNKNOWN_MODEL', /Known: net, resnet-tiny-shapes and vit-tiny-shapes\.$/),
    );
    await expect(resolveModel('', folder)).rejects.toEqual(error('UNKNOWN_MODEL', /There is no model ""/));
  });

  it('says what is wrong with a path', async () => {
    await expect(resolveModel(join(folder, 'no.pt'), folder)).rejects.toEqual(
      error('FILE_NOT_FOUND', /no\.pt; give the path/),
    );
    await expect(resolveModel('vit.pt', folder)).rejects.toEqual(error('FILE_NOT_FOUND', /There is no file vit\.pt/));
    await expect(resolveModel(folder, folder)).rejects.toEqual(error('NOT_A_FILE', /is a directory/));
    await expect(resolveModel('/dev/null', folder)).rejects.toEqual(error('NOT_A_FILE', /not a regular file/));
  });
});
