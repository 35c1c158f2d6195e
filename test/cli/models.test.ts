import { execFile, spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import path from 'node:path';

import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { Model, versions } from '../../lib/index.js';
import {
  answerOf,
  archiveIn,
  DEMO,
  fileFolder,
  MAIN,
  ROOT,
  sightline,
  temporaryFolder,
  useBuiltCommand,
  type Outcome,
} from './command.js';

useBuiltCommand();

const folder = fileFolder();
const PICTURES = ['disc-and-flower.png', 'square-and-oval.png'].map((file) => path.join(DEMO, file));
const vit = archiveIn(folder, 'timm-vit-fused-traced', 40, 24);

function withEnvironment(variables: Record<string, string>, ...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [MAIN, ...args],
      { cwd: ROOT, env: { ...process.env, ...variables } },
      (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });
}

describe('inspect', () => {
  it("is the library's inspection", async () => {
    await using model = await Model.load(vit, { device: 'cpu' });
    const {
      model: name,
      path: archive,
      device,
      dtype,
      weightBytes,
      input,
      labels,
      ...inspection
    } = await answerOf<Record<string, unknown>>('inspect', vit, '--device', 'cpu');
    expect(inspection).toEqual(await model.inspect());
    expect({ name, archive, device, dtype, weightBytes, input, labels }).toEqual({
      name: vit,
      archive: vit,
      device: 'cpu',
      dtype: 'f32',
      weightBytes: model.weightBytes,
      input: model.card.input,
      labels: model.labels,
    });
  });

  it('tells people every node with its shape, the head, and the reason against each method', async () => {
    await using model = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
    const { stdout, code } = await sightline('inspect', 'resnet-tiny-shapes', '--device', 'cpu');
    expect(code).toBe(0);
    const { nodes } = await model.inspect();
    const lines = stdout.split('\n');
    for (const { name, shape } of nodes) {
      expect(
        lines.some((line) =>
          line
            .trim()
            .split(/ {2,}/)
            .join('|')
            .startsWith(`${name}|[${shape.join(', ')}]`),
        ),
      ).toBe(true);
    }
    expect(stdout).toContain('linear on the mean of layer4 (512 channels, channels-first)');
    expect(stdout).toMatch(/attention-rollout +does not apply: it has no attention/);
  });

  it('runs in bfloat16 with the threads asked for', async () => {
    const [half, full] = await Promise.all(
      ['bf16', 'f32'].map((dtype) =>
        answerOf<{ dtype: string; weightBytes: number }>(
          'inspect',
          'resnet-tiny-shapes',
          '--device',
          'cpu',
          '--dtype',
          dtype,
          '--threads',
          '1',
        ),
      ),
    );
    expect(half!.dtype).toBe('bf16');
    expect(half!.weightBytes).toBeLessThan(0.6 * full!.weightBytes);
  });
});

describe('compare', () => {
  interface Compared {
    picture: string;
    results: {
      image: string;
      model: string;
      method: string;
      min: number;
      max: number;
      target: { index: number };
      predictions: unknown[];
    }[];
  }

  it("sets each image beside every model's map, by the method that suits it", async () => {
    const out = path.join(temporaryFolder(), 'compared.png');
    const { results, picture } = await answerOf<Compared>(
      'compare',
      ...PICTURES,
      '--model',
      'resnet-tiny-shapes',
      '--model',
      vit,
      '--device',
      'cpu',
      '--out',
      out,
    );
    expect(picture).toBe(out);
    expect(results.map(({ image, model, method }) => [image, model, method])).toEqual([
      ...PICTURES.map((image) => [image, 'resnet-tiny-shapes', 'cam']),
      ...PICTURES.map((image) => [image, vit, 'attention-rollout']),
    ]);
    await using model = await Model.load(vit, { device: 'cpu' });
    const expected = await model.explain(PICTURES, { method: 'attention-rollout' });
    expected.forEach(({ predictions, maps: [map] }, i) =>
      expect(results[2 + i]).toMatchObject({
        predictions,
        min: map!.min,
        max: map!.max,
        target: { index: map!.target.index },
      }),
    );
    const { width, height } = await sharp(out).metadata();
    // Three columns of 256 pixels, two rows of 192.
    expect(width).toBeGreaterThan(3 * 256);
    expect(width).toBeLessThan(4 * 256);
    expect(height).toBeGreaterThan(2 * 192);
  });

  it('sets several methods beside each other, for each of several models', async () => {
    const out = path.join(temporaryFolder(), 'compared.png');
    const { results } = await answerOf<Compared>(
      'compare',
      ...PICTURES,
      '--model',
      'resnet-tiny-shapes',
      '--model',
      vit,
      '--method',
      'grad-cam',
      '--method',
      'gradient',
      '--device',
      'cpu',
      '--out',
      out,
    );
    expect(results.map(({ image, model, method }) => [model, method, image])).toEqual(
      ['resnet-tiny-shapes', vit].flatMap((model) =>
        ['grad-cam', 'gradient'].flatMap((method) => PICTURES.map((image) => [model, method, image])),
      ),
    );
    await using model = await Model.load(vit, { device: 'cpu' });
    const expected = await model.explain(PICTURES, [{ method: 'grad-cam' }, { method: 'gradient' }]);
    expected.forEach((methods, i) =>
      methods.forEach(({ maps: [map] }, j) =>
        expect(results[4 + 2 * j + i]).toMatchObject({
          min: map!.min,
          max: map!.max,
          target: { index: map!.target.index },
        }),
      ),
    );
    const { width, height } = await sharp(out).metadata();
    // Five columns of 256 pixels, two rows of 192.
    expect(width).toBeGreaterThan(5 * 256);
    expect(width).toBeLessThan(6 * 256);
    expect(height).toBeGreaterThan(2 * 192);
  });

  it('takes the ImageNet model where none is named', async () => {
    const { results } = await answerOf<Compared>(
      'compare',
      path.join(DEMO, 'photos', 'cat.jpg'),
      '--method',
      'cam',
      '--method',
      'grad-cam++',
      '--device',
      'cpu',
      '--out',
      path.join(temporaryFolder(), 'c.png'),
    );
    expect(results.map(({ model, method, target }) => [model, method, target.index])).toEqual([
      ['efficientnet-lite0', 'cam', 282],
      ['efficientnet-lite0', 'grad-cam++', 282],
    ]);
  });

  it('takes one method for all', async () => {
    const { results } = await answerOf<Compared>(
      'compare',
      PICTURES[0]!,
      '--model',
      'resnet-tiny-shapes',
      '--model',
      vit,
      '--method',
      'grad-cam',
      '--device',
      'cpu',
      '--out',
      path.join(temporaryFolder(), 'c.jpg'),
    );
    expect(results.map(({ method }) => method)).toEqual(['grad-cam', 'grad-cam']);
  });
});

describe('models', () => {
  it('lists what is bundled with the facts of its cards', async () => {
    interface Listed {
      name: string;
      path: string;
      bytes: number;
      classes: number;
      accuracy: { singleObjectTop1: number };
      license: string;
      input: { width: number };
    }
    const { models } = await answerOf<{ models: Listed[] }>('models');
    const resnet = models.find(({ name }) => name === 'resnet-tiny-shapes')!;
    expect(resnet).toMatchObject({
      classes: 12,
      license: 'Apache-2.0',
      input: { width: 224 },
      bytes: statSync(resnet.path).size,
    });
    expect(resnet.accuracy.singleObjectTop1).toBeGreaterThanOrEqual(0.98);
    const imagenet = models.find(({ name }) => name === 'efficientnet-lite0')!;
    expect(imagenet).toMatchObject({ classes: 1000, license: 'Apache-2.0', bytes: statSync(imagenet.path).size });
    const { stdout } = await sightline('models');
    for (const { name } of models) expect(stdout).toContain(`${name}: `);
  });

  it('lists what can be pulled, with size, parameters and license', async () => {
    const { catalog } = await answerOf<{
      catalog: { name: string; bytes: number; parameters: number; license: string; repository: string }[];
    }>('models');
    expect(catalog.find(({ name }) => name === 'vit_base_patch16_224')).toMatchObject({
      parameters: 86_567_656,
      bytes: 346_270_624,
      license: 'Apache-2.0',
      repository: 'timm/vit_base_patch16_224.augreg2_in21k_ft_in1k',
    });
    const { stdout } = await sightline('models');
    for (const { name, license } of catalog) {
      expect(stdout).toMatch(new RegExp(`^  ${name} +\\d.* MB  .*${license}`, 'm'));
    }
  });
});

describe('doctor', () => {
  it('finds that this machine can work, and which LibTorch is loaded', async () => {
    interface Diagnosis {
      usable: boolean;
      findings: { name: string; value: string; state: string; remedy?: string }[];
      engine: unknown;
    }
    const { usable, findings, engine } = await answerOf<Diagnosis>('doctor');
    expect(usable).toBe(true);
    expect(engine).toEqual(versions());
    expect(findings.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['Node', 'addon', 'LibTorch', 'engine', 'CUDA']),
    );
    for (const { state, remedy } of findings) expect(remedy === undefined).toBe(state === 'ok');
    expect((await sightline('doctor')).stdout).toContain('sightline can work here.');
  });

  it('ends with 1 where a LibTorch is named that is none, and the addon cannot load', async () => {
    const { code, stdout, stderr } = await withEnvironment({ LIBTORCH: '/nonexistent' }, 'doctor');
    expect(stderr).toBe('');
    expect(stdout).toContain('BAD');
    expect(stdout).toContain('LIBTORCH is /nonexistent, but there is no such folder');
    expect(code).toBe(1);
  });
});

describe('setup', () => {
  it('says in one line why it cannot go on', async () => {
    const { code, stdout, stderr } = await withEnvironment({ LIBTORCH: '/nonexistent' }, 'setup', '--json');
    expect(stderr).toMatch(/^sightline: LIBTORCH is \/nonexistent, but there is no such folder; [^\n]+\n$/);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'NATIVE_MISSING' } });
    expect(code).toBe(1);
  });
});

describe('the process', () => {
  it('ends quietly when its reader goes', async () => {
    const child = spawn(process.execPath, [MAIN, 'inspect', 'resnet-tiny-shapes', '--device', 'cpu'], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (text) => (stderr += String(text)));
    child.stdout.destroy();
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('stops at Ctrl-C with one line', async () => {
    const many = Array.from({ length: 400 }, () => PICTURES[0]!);
    const child = spawn(
      process.execPath,
      [
        MAIN,
        'explain',
        ...many,
        '--model',
        'resnet-tiny-shapes',
        '--method',
        'grad-cam',
        '--device',
        'cpu',
        '--out',
        temporaryFolder(),
      ],
      { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let stderr = '';
    child.stderr.on('data', (text) => (stderr += String(text)));
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGINT');
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stderr }).toEqual({ code: 130, stderr: 'sightline: The request was aborted.\n' });
  });
});
