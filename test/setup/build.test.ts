import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { arePackagesInstalled } from '../../scripts/npm-packages.mjs';
import { type Outcome, ROOT, fakeFiles, runProgram, temporaryFolder, writeFiles, writeProgram } from './fixtures.js';

const PATH = process.env['PATH'] ?? '';

interface Project {
  root: string;
  libtorch: string;
  env: { PATH: string; HOME: string; SIGHTLINE_CACHE: string; LIBTORCH: string };
  run(task: string, env?: Record<string, string>): Promise<Outcome>;
}

/**
 * A package with the real scripts and build files, but an engine of a few lines against libraries that are empty but
 * for what is checked: it builds in seconds, and all of the set-up except LibTorch itself is the real one.
 */
function project(): Project {
  const root = path.join(temporaryFolder(), 'package');
  for (const name of [
    'scripts',
    'lib/setup',
    'CMakeLists.txt',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'native/loader',
    'models/demo',
  ]) {
    cpSync(path.join(ROOT, name), path.join(root, name), { recursive: true });
  }
  // Were they out of date, the set-up would run `npm ci` in the copy, which empties the real folder through the link.
  if (!arePackagesInstalled(ROOT)) {
    throw new Error('The npm packages are not those of package-lock.json: run npm ci first.');
  }
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(root, 'node_modules'));
  writeFiles(root, {
    'native/cuda/captured_graph_none.cc': '',
    'native/engine/answer.h': '#pragma once\nint answer();\n',
    'native/engine/answer.cc': '#include "engine/answer.h"\nint answer() { return 42; }\n',
    'native/bridge/addon.cc': `#include <napi.h>
#include "engine/answer.h"
static Napi::Value Answer(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), answer()); }
static Napi::Object Init(Napi::Env env, Napi::Object exports) { exports.Set("answer", Napi::Function::New(env, Answer)); exports.Set("versions", Napi::Function::New(env, [](const Napi::CallbackInfo& info) { return Napi::Object::New(info.Env()); })); return exports; }
NODE_API_MODULE(sightline, Init)
`,
    'lib/index.ts': 'export const answer: number = 42;\n',
    'lib/bench/index.ts': 'export const runs: number = 42;\n',
    'lib/service/http.ts': 'export const port: number = 42;\n',
    'lib/service/fastify.ts': 'export const plugin: number = 42;\n',
    'lib/page.html': '<p>42</p>\n',
    'lib/page/index.html': '<html><head></head><body><script type="module" src="./main.ts"></script></body></html>\n',
    'lib/page/main.ts': 'document.title = `${42}`;\n',
    'lib/page/icon.svg': '<svg xmlns="http://www.w3.org/2000/svg"/>\n',
    'lib/page/view.html': '<html><head></head><body></body></html>\n',
    'lib/page/view-entry.ts': "import './style.css';\ndocument.title = `${42}`;\n",
    'lib/page/style.css': 'p { color: #424242; }\n',
  });
  const libtorch = copyLibTorch(path.join(root, '..', 'libtorch'));
  const env = {
    PATH,
    HOME: path.join(root, '..'),
    SIGHTLINE_CACHE: path.join(root, '..', 'cache'),
    LIBTORCH: libtorch,
  };
  return {
    root,
    libtorch,
    env,
    run: (task, more = {}) =>
      runProgram(process.execPath, [path.join(root, 'scripts/run.mjs'), task], { env: { ...env, ...more }, cwd: root }),
  };
}

let template = '';

/** The files of a fake LibTorch, with libraries that a linker and a loader take. */
beforeAll(async () => {
  template = mkdtempSync(path.join(os.tmpdir(), 'sightline-setup-'));
  const folder = writeFiles(template, fakeFiles());
  const source = path.join(folder, 'c10.cc');
  writeFileSync(
    source,
    '#include <string>\nnamespace c10 { struct SourceLocation {}; struct Error { Error(SourceLocation, std::string); }; Error::Error(SourceLocation, std::string) {} }\n',
  );
  for (const name of ['c10', 'torch_cpu', 'torch']) {
    const outcome = await runProgram(
      'c++',
      ['-shared', '-fPIC', '-o', path.join(folder, `lib/lib${name}.so`), `-Wl,-soname,lib${name}.so`, source],
      { env: { PATH } },
    );
    expect(outcome.stderr).toBe('');
  }
});

afterAll(() => rmSync(template, { recursive: true, force: true }));

const copyLibTorch = (folder: string): string => {
  cpSync(template, folder, { recursive: true });
  return folder;
};

const sentence = (outcome: Outcome): string => {
  expect(outcome.code).toBe(1);
  expect(outcome.stderr).not.toMatch(/^\s+at /m);
  return outcome.stderr.trimEnd().split('\n').at(-1) ?? '';
};

describe('npm run build', () => {
  it('does each step once, and again exactly when what goes into it changed', async () => {
    const { root, env, run } = project();
    const first = await run('build');
    expect(first).toMatchObject({ code: 0, stdout: '' });
    expect(first.stderr).toMatch(/LibTorch 2\.13\.0\+cpu in .*LIBTORCH names it/);
    expect(first.stderr).toMatch(/\[\d+\/\d+\] Building CXX object native\/engine\/answer\.cc\.o/);
    expect(first.stderr).toMatch(/native build against LibTorch 2\.13\.0\+cpu, done in [\d.]+ s/);
    expect(first.stderr).toMatch(/TypeScript build, done in [\d.]+ s/);

    // The addon, the ES module, the CommonJS entry and what the compiler leaves behind.
    const load = await runProgram(
      process.execPath,
      [
        '-e',
        `import(${JSON.stringify(path.join(root, 'lib/setup/addon.mjs'))}).then(({ chooseAddon, loadAddon }) => console.log(loadAddon(chooseAddon()).answer(), require(${JSON.stringify(path.join(root, 'dist/index.cjs'))}).answer))`,
      ],
      { env },
    );
    expect(load.stdout).toBe('42 42\n');
    expect(readFileSync(path.join(root, 'dist/page.html'), 'utf8')).toBe('<p>42</p>\n');

    // The second time nothing is left to do, and nothing is written.
    const written = (): number[] =>
      ['dist/index.cjs', 'dist/page.html'].map((name) => statSync(path.join(root, name)).mtimeMs);
    const before = written();
    expect(await run('build')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(written()).toEqual(before);

    writeFileSync(path.join(root, 'lib/index.ts'), 'export const answer: number = 43;\n');
    rmSync(path.join(root, 'lib/page.html'));
    const typescript = await run('build');
    expect(typescript.stderr).toContain('TypeScript build');
    expect(typescript.stderr).not.toContain('native build');
    expect(existsSync(path.join(root, 'dist/page.html'))).toBe(false);

    // A new file is found without anything being listed, and compiled by itself.
    writeFiles(root, {
      'native/engine/answer.cc': '#include "engine/answer.h"\nint more();\nint answer() { return more(); }\n',
      'native/engine/more.cc': 'int more() { return 44; }\n',
    });
    const native = await run('build');
    expect(native.stderr).toContain('Building CXX object native/engine/more.cc.o');
    expect(native.stderr).not.toContain('TypeScript build');

    rmSync(path.join(root, 'build/Release/sightline-libtorch-2.13.node'));
    expect((await run('build')).stderr).toContain('native build');

    const moved = copyLibTorch(path.join(root, '..', 'moved'));
    expect((await run('build', { LIBTORCH: moved })).stderr).toContain('native build');
  });

  it('turns what goes wrong in a build into a sentence, and repairs itself when the cause is gone', async () => {
    const { root, run } = project();
    const good = readFileSync(path.join(root, 'native/engine/answer.cc'), 'utf8');
    writeFileSync(path.join(root, 'native/engine/answer.cc'), 'int answer() { return fortyTwo; }\n');
    const compile = sentence(await run('build'));
    expect(compile).toMatch(
      /^sightline: The native build failed \(native\/engine\/answer\.cc:1:\d+: error: .*fortyTwo.*\): repair that and run npm run build; all its output is in build\/native\.log\.$/,
    );
    expect(readFileSync(path.join(root, 'build/native.log'), 'utf8')).toContain('fortyTwo');

    writeFileSync(
      path.join(root, 'native/engine/answer.cc'),
      '#include "engine/answer.h"\nextern int nowhere;\nint answer() { return nowhere; }\n',
    );
    expect(sentence(await run('build'))).toMatch(/The addon does not load \(.*undefined symbol: nowhere.*\)/);

    writeFileSync(path.join(root, 'native/engine/answer.cc'), good);
    expect((await run('build')).code).toBe(0);
    const before = statSync(path.join(root, 'dist/index.js')).mtimeMs;
    writeFileSync(path.join(root, 'lib/index.ts'), 'export const answer: string = 42;\n');
    expect(sentence(await run('build'))).toMatch(
      /The TypeScript build failed \(lib\/index\.ts\(1,14\): error TS2322: .*\): repair that/,
    );
    expect(statSync(path.join(root, 'dist/index.js')).mtimeMs).toBe(before);
  });

  it('in a package builds only where no prebuilt addon fits, and leaves the addon alone, in the cache', async () => {
    const { root, env } = project();
    rmSync(path.join(root, 'tsconfig.json'));
    const setUp = (more: Record<string, string> = {}): Promise<Outcome> =>
      runProgram(process.execPath, [path.join(root, 'scripts/setup.mjs')], { env: { ...env, ...more } });
    const built = await setUp();
    expect(built).toMatchObject({ code: 0, stdout: '' });
    expect(built.stderr).toMatch(/native build against LibTorch 2\.13\.0\+cpu, done/);
    const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };
    const addons = path.join(env.SIGHTLINE_CACHE, 'addons', `${version}-linux-${process.arch}`);
    expect(readdirSync(addons).sort()).toEqual(['libtorch-loader.node', 'sightline-libtorch-2.13.node']);
    expect(readdirSync(env.SIGHTLINE_CACHE).sort()).toEqual(['addons', 'state']);
    expect(existsSync(path.join(root, 'build'))).toBe(false);
    expect((await setUp()).stderr).not.toContain('native build');

    // As a package comes: with what fits, neither a compiler nor a cache is needed.
    cpSync(addons, path.join(root, 'prebuilds', `linux-${process.arch}`), { recursive: true });
    rmSync(env.SIGHTLINE_CACHE, { recursive: true });
    expect(await setUp({ PATH: '/nowhere' })).toMatchObject({ code: 0, stdout: '' });
    expect(existsSync(env.SIGHTLINE_CACHE)).toBe(false);
    const broken = path.join(root, 'native/engine/answer.cc');
    writeFileSync(broken, 'int answer() { return fortyTwo; }\n');
    rmSync(path.join(root, 'prebuilds'), { recursive: true });
    expect(sentence(await setUp())).toMatch(
      /The native build failed .*: repair that and run npx sightline setup; all its output is in .*cache\/native-build\.log\.$/,
    );
    expect(readdirSync(env.SIGHTLINE_CACHE).sort()).toEqual(['native-build.log', 'state']);
  });

  it('refuses a wrong LIBTORCH before it builds anything', async () => {
    const { root, run } = project();
    expect(sentence(await run('build', { LIBTORCH: '/nowhere' }))).toBe(
      'sightline: LIBTORCH is /nowhere, but there is no such folder; point it at the folder that holds lib/ and include/ of LibTorch 2.11 to 2.15, or unset it.',
    );
    expect(existsSync(path.join(root, 'build/CMakeCache.txt'))).toBe(false);
  });

  it('refuses a task that does not exist', async () => {
    const outcome = await runProgram(process.execPath, [path.join(ROOT, 'scripts/run.mjs'), 'tset'], { env: { PATH } });
    expect(sentence(outcome)).toBe(
      'sightline: There is no task "tset": it is one of build, test, test:device, test:gpu, bench:gpu, pack:gpu, demo, zoo.',
    );
  });
});

describe('a tool that is missing or too old is one sentence', () => {
  const fakeCompiler = '#!/bin/sh\n[ "$1" = --version ] && echo "g++ 8.3.0" && exit 0\nexit 1\n';
  const goodCompiler = '#!/bin/sh\necho "g++ 13.2.0"\n';
  const cmake = (version: string): string => `#!/bin/sh\necho "cmake version ${version}"\n`;

  it.each<[string, Record<string, string>, Record<string, string>, string]>([
    ['no compiler', {}, {}, 'There is no C++ compiler: install g++ 11'],
    ['a wrong CXX', { 'c++': goodCompiler }, { CXX: 'g++-99' }, 'CXX is g++-99, but there is no such compiler'],
    ['a compiler without C++20', { 'c++': fakeCompiler }, {}, 'c++ (g++ 8.3.0) does not compile C++20'],
    ['no CMake', { 'c++': goodCompiler }, {}, 'There is no CMake: install version 3.18'],
    ['an old CMake', { 'c++': goodCompiler, cmake: cmake('3.10.2') }, {}, 'CMake 3.10.2 is too old'],
    ['neither make nor ninja', { 'c++': goodCompiler, cmake: cmake('3.25.1') }, {}, 'There is neither make nor ninja'],
  ])('%s', async (_name, programs, more, expected) => {
    const { root, run } = project();
    const bin = path.join(root, '..', 'bin');
    mkdirSync(bin);
    for (const [name, text] of Object.entries(programs)) writeProgram(path.join(bin, name), text);
    const line = sentence(await run('build', { PATH: bin, ...more }));
    expect(line).toContain(`sightline: ${expected}`);
    expect(existsSync(path.join(root, 'build/CMakeCache.txt'))).toBe(false);
  });

  it('an old Node', async () => {
    const outcome = await runProgram(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { requireNode } from '${ROOT}/scripts/tools.mjs'; import { runCommand } from '${ROOT}/lib/setup/setup-error.mjs'; await runCommand(async () => requireNode('18.20.4'));`,
      ],
      { env: { PATH } },
    );
    expect(sentence(outcome)).toContain('sightline needs Node 20.19.0 or later and this is 18.20.4');
  });
});

describe('CMakeLists.txt by itself', () => {
  const configure = async (options: string[]): Promise<string> => {
    const outcome = await runProgram('cmake', ['-S', ROOT, '-B', temporaryFolder(), ...options], { env: { PATH } });
    expect(outcome.code).not.toBe(0);
    return outcome.stderr.replace(/\s+/g, ' ');
  };
  const fake = (options: Parameters<typeof fakeFiles>[0]): string =>
    `-DSIGHTLINE_LIBTORCH=${writeFiles(temporaryFolder(), fakeFiles(options))}`;

  it('asks for a LibTorch', async () => expect(await configure([])).toContain('No LibTorch was named'));
  it('refuses a folder without it', async () =>
    expect(await configure(['-DSIGHTLINE_LIBTORCH=/nowhere'])).toContain(
      '/nowhere is not a LibTorch: /nowhere/lib/libc10.so is missing',
    ));
  it('refuses one too old', async () =>
    expect(await configure([fake({ version: '2.10.0' })])).toContain(
      'is LibTorch 2.10.0, but sightline needs 2.11 to 2.15',
    ));
  it('refuses one too new', async () =>
    expect(await configure([fake({ version: '2.16.0' })])).toContain(
      'is LibTorch 2.16.0, but sightline needs 2.11 to 2.15',
    ));
  it('refuses the old C++ ABI', async () =>
    expect(await configure([fake({ oldAbi: true })])).toContain('was built with the old C++ ABI'));
  it('refuses a library without headers', async () =>
    expect(await configure([fake({ without: ['include/torch/headeronly/version.h'] })])).toContain(
      'its headers are missing',
    ));
  it('refuses an unknown sanitizer', async () =>
    expect(await configure([fake({}), '-DSIGHTLINE_SANITIZE=memory'])).toContain(
      "SIGHTLINE_SANITIZE is 'memory': it must be address, thread or undefined",
    ));
});
