import { nodeFileTrace } from '@vercel/nft';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Bench, PRINTS, ROOT, cpSync, install, path, run, setUpBench, writeFileSync } from './support.js';

let bench: Bench;
let project: string;

beforeAll(() => {
  bench = setUpBench();
  project = install(bench, 'Bündel', 'npm', false);
});

afterAll(() => bench.remove());

const env = (): NodeJS.ProcessEnv => ({ PATH: bench.bin, SIGHTLINE_CACHE: bench.cache });

describe('bundlers', () => {
  it('esbuild makes an ES module with the one line that docs/installing.md gives', async () => {
    await build({
      entryPoints: [path.join(project, 'app.mjs')],
      outfile: path.join(project, 'out/bundle.mjs'),
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: ['sightline'],
      logLevel: 'silent',
    });
    expect(run(['node', 'out/bundle.mjs'], { cwd: project, env: env() })).toEqual({
      code: 0,
      stdout: PRINTS,
      stderr: '',
    });
  });

  it('@vercel/nft finds every file that is needed', async () => {
    const { fileList } = await nodeFileTrace([path.join(project, 'app.mjs')], { base: project });
    const traced = path.join(bench.folder, 'Verfolgt');
    for (const name of fileList) cpSync(path.join(project, name), path.join(traced, name), { recursive: true });
    cpSync(path.join(project, 'picture.png'), path.join(traced, 'picture.png'));
    expect(run(['node', 'app.mjs'], { cwd: traced, env: env() })).toEqual({ code: 0, stdout: PRINTS, stderr: '' });
    expect([...fileList].filter((name) => /DejaVuSans(-Bold)?\.ttf$/.test(name)).length).toBe(2);
  });
});

describe('TypeScript', () => {
  const source = `import { Model, type Explanation } from 'sightline';
export async function shape(): Promise<readonly number[]> {
  await using model = await Model.load('resnet-tiny-shapes');
  const explained: Explanation[] = await model.explain(['photo.jpg'], { method: 'grad-cam' });
  return explained[0]!.maps[0]!.shape;
}
// @ts-expect-error: there is no such method
void shape().then(() => Model.load('x').then((model) => model.explain(['photo.jpg'], { method: 'no-such-method' })));
`;

  it.each([
    ['nodenext', ['--module', 'nodenext', '--moduleResolution', 'nodenext'], ['module.mts', 'common.cts']],
    ['bundler', ['--module', 'esnext', '--moduleResolution', 'bundler'], ['bundled.ts']],
  ] as const)('finds the types with resolution %s', (_name, options, files) => {
    for (const file of files) writeFileSync(path.join(project, file), source);
    const flags = [
      '--noEmit',
      '--strict',
      '--target',
      'es2022',
      '--lib',
      'es2023,esnext.disposable',
      '--typeRoots',
      path.join(ROOT, 'node_modules/@types'),
      '--types',
      'node',
    ];
    const outcome = run(
      [
        process.execPath,
        path.join(ROOT, 'node_modules/typescript/bin/tsc'),
        ...flags,
        '--skipLibCheck',
        ...options,
        ...files,
      ],
      { cwd: project },
    );
    expect(outcome).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

describe("vitest's pools", () => {
  it.each(['forks', 'vmThreads'])('%s dispose of models', (pool) => {
    writeFileSync(
      path.join(project, 'dispose.test.ts'),
      `import { Model } from 'sightline';
test('a model is closed at the end of its scope', async () => {
  let seen;
  {
    await using model = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
    seen = model;
    expect((await model.predict(['picture.png'])).length).toBe(1);
  }
  await expect(seen.predict(['picture.png'])).rejects.toMatchObject({ code: 'MODEL_CLOSED' });
});
`,
    );
    const outcome = run(
      [
        process.execPath,
        path.join(ROOT, 'node_modules/vitest/vitest.mjs'),
        'run',
        '--root',
        project,
        '--globals',
        '--pool',
        pool,
        '--testTimeout',
        '120000',
        'dispose.test.ts',
      ],
      {
        cwd: project,
        env: { ...process.env, SIGHTLINE_CACHE: bench.cache },
      },
    );
    expect(outcome.stdout).toMatch(/1 passed/);
    expect(outcome.code).toBe(0);
  });
});
