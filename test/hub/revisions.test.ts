import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { Model, pull } from '../../lib/index.js';
import { skeletonOf } from '../../lib/models/catalog.js';
import { safetensorsOf, seeded, type Values } from '../support/checkpoints.js';
import { findPython } from '../support/python.js';
import { TEST_VIT_CONFIG, temporaryFolder, useHub } from './fixtures.js';

const { card: skeleton } = await skeletonOf('test_vit');
const python = findPython();
const image = { data: new Float32Array(3 * 160 * 160), shape: [1, 3, 160, 160] };

/** Weights that are for one class alone, whatever the picture. */
function sureOf(index: number): Values {
  const values = seeded(skeleton, 3, 101);
  values.get('head.weight')!.values.fill(0);
  values.get('head.bias')!.values.set([0, 0, 0]);
  values.get('head.bias')!.values[index] = 8;
  return values;
}

const repository = (index: number) => ({
  'config.json': TEST_VIT_CONFIG,
  'model.safetensors': { lfs: safetensorsOf(sureOf(index)) },
});

async function answerOf(name: string, revision?: string): Promise<string> {
  await using model = await Model.load(name, { device: 'cpu', revision });
  return (await model.predict(image))[0]!.predictions[0]!.label;
}

describe('a revision', () => {
  it('is what is loaded, by its name and by the option', async () => {
    const { hub, cache } = await useHub();
    hub.add('me/two', repository(0));
    const old = (await pull('me/two')).commit;
    hub.add('me/two', repository(1));
    const { commit } = await pull('me/two');
    expect(commit).not.toBe(old);
    const refs = join(cache, 'models--me--two', 'refs');
    writeFileSync(join(refs, 'v1'), old);

    expect(await answerOf('me/two')).toBe('tulip');
    expect(await answerOf('me/two@v1')).toBe('rose');
    expect(await answerOf('me/two', 'v1')).toBe('rose');
    expect(await answerOf(`me/two@${old}`)).toBe('rose');
    expect(await answerOf('me/two@main', 'main')).toBe('tulip');

    await expect(Model.load('me/two@v9')).rejects.toMatchObject({
      code: 'NOT_PULLED',
      message: expect.stringContaining('run `sightline pull me/two@v9`'),
    });
    await expect(Model.load('me/two', { revision: 'v9' })).rejects.toMatchObject({
      code: 'NOT_PULLED',
      message: expect.stringContaining('run `sightline pull me/two@v9`'),
    });
    for (const [name, revision] of [
      ['me/two@v1', 'main'],
      ['resnet-tiny-shapes', 'main'],
      ['me/two@../x', undefined],
    ] as const) {
      await expect(Model.load(name, { revision })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    }
  });

  it('can be pulled by the name that loads it, without main in the cache', async () => {
    const { hub } = await useHub();
    hub.add('me/two', repository(2));
    const { commit } = await pull('me/two');
    const { hub: fresh, cache } = await useHub();
    fresh.add('me/two', repository(2));
    const pulled = await pull(`me/two@${commit}`);
    expect(pulled.commit).toBe(commit);
    expect(await answerOf(`me/two@${commit}`)).toBe('daisy');
    // As Python's pinned caches are: one commit, and no branch.
    rmSync(join(cache, 'models--me--two', 'refs'), { recursive: true, force: true });
    expect(await answerOf('me/two')).toBe('daisy');
    // Of two commits none is meant, and a branch that was asked for is not guessed.
    mkdirSync(join(cache, 'models--me--two', 'snapshots', 'f'.repeat(40)));
    await expect(Model.load('me/two')).rejects.toMatchObject({ code: 'NOT_PULLED' });
    await expect(Model.load('me/two@main')).rejects.toMatchObject({ code: 'NOT_PULLED' });
  });
});

describe('weights that cannot be loaded', () => {
  it('are refused by pull, from a file and from the hub, and nothing is placed', async () => {
    const { hub } = await useHub();
    const folder = temporaryFolder();
    const odd = sureOf(0);
    odd.set('extra.weight', { shape: [1], values: new Float32Array(1) });
    const file = join(folder, 'model.safetensors');
    writeFileSync(file, safetensorsOf(odd));
    writeFileSync(join(folder, 'config.json'), TEST_VIT_CONFIG);
    await expect(pull('me/odd', { fromFile: file })).rejects.toMatchObject({
      code: 'INVALID_WEIGHTS',
      message: expect.stringContaining('extra.weight'),
    });
    await expect(Model.load('me/odd')).rejects.toMatchObject({ code: 'NOT_PULLED' });
    hub.add('me/odd', { 'config.json': TEST_VIT_CONFIG, 'model.safetensors': { lfs: safetensorsOf(odd) } });
    await expect(pull('me/odd')).rejects.toMatchObject({ code: 'INVALID_WEIGHTS' });
  });

  it.each(['_orig_mod.', 'model.', 'backbone.', 'module._orig_mod.model.'])(
    'are not those named %s*',
    async (prefix) => {
      await useHub();
      const folder = temporaryFolder();
      const file = join(folder, 'model.safetensors');
      writeFileSync(file, safetensorsOf(new Map([...sureOf(2)].map(([name, value]) => [prefix + name, value]))));
      writeFileSync(join(folder, 'config.json'), TEST_VIT_CONFIG);
      await pull('me/own', { fromFile: file });
      expect(await answerOf('me/own')).toBe('daisy');
    },
  );
});

describe.runIf(python !== null)('a file of torch.save', () => {
  const saved = (values: Values): { file: string; folder: string } => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'in.safetensors'), safetensorsOf(values));
    const code = `import torch, safetensors.torch as s, sys; torch.save(s.load_file(sys.argv[1]), sys.argv[2])`;
    const file = join(folder, 'trained.pth');
    execFileSync(python!, ['-c', code, join(folder, 'in.safetensors'), file]);
    return { file, folder };
  };

  it('is pulled from the hub where there are no safetensors', async () => {
    const { hub } = await useHub();
    const { file } = saved(sureOf(1));
    hub.add('me/old', { 'config.json': TEST_VIT_CONFIG, 'pytorch_model.bin': { lfs: readFileSync(file) } });
    const { files } = await pull('me/old');
    expect(files[0]).toMatch(/pytorch_model\.bin$/);
    expect(await answerOf('me/old')).toBe('tulip');
  });

  it('is read in several parts, from the hub and from files', async () => {
    const { hub } = await useHub();
    const values = [...sureOf(1)];
    const parts = [values.filter((_, i) => i % 2 === 0), values.filter((_, i) => i % 2 === 1)];
    const names = parts.map((_, i) => `pytorch_model-0000${i + 1}-of-00002.bin`);
    const weightMap = Object.fromEntries(parts.flatMap((part, i) => part.map(([name]) => [name, names[i]!])));
    const index = JSON.stringify({ metadata: {}, weight_map: weightMap });
    const files = parts.map((part) => readFileSync(saved(new Map(part)).file));
    hub.add('me/parts', {
      'config.json': TEST_VIT_CONFIG,
      'pytorch_model.bin.index.json': index,
      [names[0]!]: { lfs: files[0]! },
      [names[1]!]: { lfs: files[1]! },
    });
    const pulled = await pull('me/parts');
    expect(pulled.files.map((file) => basename(file))).toEqual(names);
    expect(await answerOf('me/parts')).toBe('tulip');

    const folder = temporaryFolder();
    writeFileSync(join(folder, 'config.json'), TEST_VIT_CONFIG);
    writeFileSync(join(folder, 'pytorch_model.bin.index.json'), index);
    names.forEach((name, i) => writeFileSync(join(folder, name), files[i]!));
    await pull('me/placed', { fromFile: join(folder, 'pytorch_model.bin.index.json') });
    expect(await answerOf('me/placed')).toBe('tulip');

    // A part that is not what the index says.
    writeFileSync(join(folder, names[1]!), files[0]!);
    await expect(pull('me/twice', { fromFile: join(folder, 'pytorch_model.bin.index.json') })).rejects.toMatchObject({
      code: 'INVALID_WEIGHTS',
      message: expect.stringMatching(/both hold/),
    });
  });

  it('is placed by --from-file', async () => {
    await useHub();
    const { file, folder } = saved(sureOf(2));
    writeFileSync(join(folder, 'config.json'), TEST_VIT_CONFIG);
    expect((await pull('me/own', { fromFile: file })).files[0]).toMatch(/pytorch_model\.bin$/);
    expect(await answerOf('me/own')).toBe('daisy');
    writeFileSync(file, 'no checkpoint');
    await expect(pull('me/other', { fromFile: file })).rejects.toMatchObject({ code: 'INVALID_WEIGHTS' });
  });
});
