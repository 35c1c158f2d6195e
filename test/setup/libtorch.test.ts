import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { type FakeLibTorch, fakeFiles, runModule, temporaryFolder, writeFiles, writeProgram } from './fixtures.js';

interface Answer {
  found: { root: string; version: string; cuda: string | null; origin: string; why: string } | null;
  tried: { origin: string; place: string; why: string }[];
  error?: string;
}

const libtorch = (folder: string, options: FakeLibTorch = {}): string => writeFiles(folder, fakeFiles(options));

/** A cache, an empty PATH and nothing else, so that the machine's own LibTorch and Python stay out of it. */
function world(): { folder: string; cache: string; env: Record<string, string> } {
  const folder = temporaryFolder();
  return {
    folder,
    cache: path.join(folder, 'cache', 'libtorch'),
    env: { PATH: path.join(folder, 'bin'), HOME: folder, SIGHTLINE_CACHE: path.join(folder, 'cache') },
  };
}

async function search(env: Record<string, string>, options: { cwd?: string; platform?: object } = {}): Promise<Answer> {
  const platform = options.platform === undefined ? '' : `, platform: ${JSON.stringify(options.platform)}`;
  const outcome = await runModule(
    `import { findLibTorch } from '$lib/setup/libtorch.mjs';
     try { console.log(JSON.stringify(findLibTorch({ env: process.env${platform} }))); }
     catch (error) { console.log(JSON.stringify({ found: null, tried: [], error: error.message })); }`,
    { env, ...(options.cwd === undefined ? {} : { cwd: options.cwd }) },
  );
  expect(outcome.stderr).toBe('');
  return JSON.parse(outcome.stdout) as Answer;
}

const python = (folder: string, name: string, answer: string): string =>
  writeProgram(path.join(folder, name), `#!/bin/sh\necho "${answer}"\n`);

describe('the order of the search', () => {
  it('takes LIBTORCH before the cache and an installed torch', async () => {
    const { folder, cache, env } = world();
    libtorch(path.join(cache, '2.14.0-cpu'), { version: '2.14.0+cpu' });
    const named = libtorch(path.join(folder, 'named'), { version: '2.12.1+cpu' });
    const { found } = await search({ ...env, LIBTORCH: named });
    expect(found).toMatchObject({ root: named, version: '2.12.1+cpu', cuda: null, origin: 'LIBTORCH' });
  });

  it('reads a relative LIBTORCH from the current folder', async () => {
    const { folder, env } = world();
    const named = libtorch(path.join(folder, 'named'));
    expect((await search({ ...env, LIBTORCH: './named' }, { cwd: folder })).found?.root).toBe(named);
  });

  it('takes the cache before an installed torch, the newest there, and says what it passed over', async () => {
    const { folder, cache, env } = world();
    libtorch(path.join(cache, '2.11.0-cpu'), { version: '2.11.0+cpu' });
    libtorch(path.join(cache, '2.13.0-cpu'));
    libtorch(path.join(cache, '2.10.0-cpu'), { version: '2.10.0+cpu' });
    libtorch(path.join(cache, '.staging-abc'), { version: '2.14.0+cpu' });
    python(env['PATH'] ?? '', 'python3', libtorch(path.join(folder, 'site', 'torch'), { version: '2.14.0+cpu' }));
    const { found, tried } = await search(env);
    expect(found).toMatchObject({ root: path.join(cache, '2.13.0-cpu'), origin: 'cache' });
    expect(tried).toContainEqual({
      origin: 'cache',
      place: path.join(cache, '2.10.0-cpu'),
      why: 'that is LibTorch 2.10.0+cpu and sightline needs 2.11 to 2.15',
    });
  });

  it('takes a CUDA build in the cache before a newer one for the CPU, from beside its NVIDIA libraries', async () => {
    const { cache, env } = world();
    libtorch(path.join(cache, '2.14.0-cpu'), { version: '2.14.0+cpu' });
    libtorch(path.join(cache, '2.13.0-cu130', 'torch'), { version: '2.13.0+cu130', cuda: '13.0' });
    expect((await search(env)).found).toMatchObject({ root: path.join(cache, '2.13.0-cu130', 'torch'), cuda: '13.0' });
  });

  it('finds the cache in the XDG folder, else in the home folder', async () => {
    const { folder, env } = world();
    const { SIGHTLINE_CACHE: _, ...rest } = env;
    const home = libtorch(path.join(folder, '.cache', 'sightline', 'libtorch', '2.13.0-cpu'));
    const xdg = libtorch(path.join(folder, 'xdg', 'sightline', 'libtorch', '2.13.0-cpu'));
    expect((await search(rest)).found?.root).toBe(home);
    expect((await search({ ...rest, XDG_CACHE_HOME: path.join(folder, 'xdg') })).found?.root).toBe(xdg);
  });

  it('asks the active Python environment before python3', async () => {
    const { folder, env } = world();
    const inEnvironment = libtorch(path.join(folder, 'a', 'torch'), {
      version: '2.12.0+cu126',
      versionIn: 'version.py',
      cuda: '12.6',
    });
    python(path.join(folder, 'venv', 'bin'), 'python', inEnvironment);
    python(env['PATH'] ?? '', 'python3', libtorch(path.join(folder, 'b', 'torch')));
    const { found } = await search({ ...env, VIRTUAL_ENV: path.join(folder, 'venv') });
    expect(found).toMatchObject({ root: inEnvironment, origin: 'python', version: '2.12.0+cu126', cuda: '12.6' });
  });

  it('goes on to the next Python when the first has an unsupported torch', async () => {
    const { folder, env } = world();
    const old = libtorch(path.join(folder, 'a', 'torch'), { version: '2.6.0', versionIn: 'version.py' });
    const good = libtorch(path.join(folder, 'b', 'torch'), { versionIn: 'version.py' });
    python(env['PATH'] ?? '', 'python3', old);
    python(env['PATH'] ?? '', 'python', good);
    const { found, tried } = await search(env);
    expect(found?.root).toBe(good);
    expect(tried).toContainEqual({
      origin: 'python',
      place: old,
      why: 'that is LibTorch 2.6.0 and sightline needs 2.11 to 2.15',
    });
  });

  it('says of every place why nothing was taken', async () => {
    const { cache, env } = world();
    python(env['PATH'] ?? '', 'python3', '');
    const { found, tried } = await search(env);
    expect(found).toBeNull();
    expect(tried).toEqual([
      { origin: 'LIBTORCH', place: 'the environment variable LIBTORCH', why: 'it is not set' },
      { origin: 'cache', place: cache, why: 'there is no such folder yet' },
      { origin: 'python', place: 'python3', why: 'it has no torch installed' },
      { origin: 'python', place: 'python', why: 'there is no such program' },
    ]);
  });
});

describe('a LIBTORCH that is wrong is an error in one sentence, though the cache has a good one', () => {
  it.each<[string, FakeLibTorch | null, string]>([
    ['no folder', null, 'there is no such folder'],
    ['no libtorch_cpu.so', { without: ['lib/libtorch_cpu.so'] }, 'lib/libtorch_cpu.so is missing there'],
    ['no libc10.so', { without: ['lib/libc10.so'] }, 'lib/libc10.so is missing there'],
    ['no headers', { without: ['include/torch/script.h'] }, 'include/torch/script.h is missing there'],
    ['too old', { version: '2.10.0+cpu' }, 'that is LibTorch 2.10.0+cpu and sightline needs 2.11 to 2.15'],
    [
      'too new',
      { version: '2.16.0+cpu' },
      'that is LibTorch 2.16.0+cpu and sightline needs 2.11 to 2.15, since a newer LibTorch needs a newer sightline that was tested with it',
    ],
    ['no version', { versionIn: 'nowhere' }, 'its version cannot be read'],
    ['the old C++ ABI', { oldAbi: true }, 'it was built with the old C++ ABI'],
    ['another machine', { arch: process.arch === 'x64' ? 'arm64' : 'x64' }, `and Node runs on ${process.arch}`],
  ])('%s', async (_name, options, reason) => {
    const { folder, cache, env } = world();
    libtorch(path.join(cache, '2.13.0-cpu'));
    const named = path.join(folder, 'named');
    if (options !== null) libtorch(named, options);
    const { found, error } = await search({ ...env, LIBTORCH: named });
    expect(found).toBeNull();
    expect(error).toContain(`LIBTORCH is ${named}, but `);
    expect(error).toContain(reason);
    expect(error).toContain('or unset it');
    expect(error).not.toContain('\n');
  });
});

describe('the version is read', () => {
  it.each([
    ['build-version', '2.13.0+cpu', '2.13.0+cpu'],
    ['version.py', '2.14.1+cpu', '2.14.1+cpu'],
    ['header', '2.11.2+cpu', '2.11.2'],
  ] as const)('from %s', async (versionIn, version, read) => {
    const { folder, env } = world();
    const named = libtorch(path.join(folder, 'named'), { version, versionIn });
    expect((await search({ ...env, LIBTORCH: named })).found?.version).toBe(read);
  });
});

describe('a platform without LibTorch is refused in one sentence', () => {
  it.each([
    [{ os: 'linux', arch: 'x64', glibc: null }, 'musl'],
    [{ os: 'linux', arch: 'x64', glibc: '2.27' }, 'glibc 2.28 or later and this system has 2.27'],
    [{ os: 'darwin', arch: 'arm64', glibc: null }, 'not on darwin arm64'],
    [{ os: 'linux', arch: 'riscv64', glibc: '2.39' }, 'not on linux riscv64'],
  ])('%o', async (platform, reason) => {
    const { folder, env } = world();
    const named = libtorch(path.join(folder, 'named'));
    const { error } = await search({ ...env, LIBTORCH: named }, { platform });
    expect(error).toContain(reason);
    expect(error).not.toContain('\n');
  });
});
