import { chmodSync, mkdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newerSymbols, symbolVersions } from '../../scripts/symbol-versions.mjs';
import {
  type Bench,
  type Outcome,
  PRINTS,
  TARGET,
  existsSync,
  filesBelow,
  install,
  path,
  readFileSync,
  run,
  setUpBench,
  writePrograms,
} from './support.js';

/** A user of this number has no entry in /etc/passwd, as in a container that is run under a bare number. */
const STRANGER = 54_321;
const isRoot = process.getuid?.() === 0;

let bench: Bench;
let project: string;

beforeAll(() => {
  bench = setUpBench();
  project = install(bench, 'npm mit Skripten', 'npm', true);
});

afterAll(() => {
  // Else nobody but root could remove it.
  run(['chmod', '-R', 'u+w', bench.folder], { cwd: '/' });
  bench.remove();
});

/** As in a clean shell: Node and nothing else on the PATH, no HOME. */
const bare = (more: Record<string, string> = {}): NodeJS.ProcessEnv => ({
  PATH: bench.bin,
  SIGHTLINE_CACHE: bench.cache,
  ...more,
});
const node = (args: string[], env = bare(), cwd = project): Outcome => run(['node', ...args], { cwd, env });
const sightline = (args: string[], env = bare()): Outcome =>
  node(['node_modules/sightline/dist/cli/main.js', ...args], env);

describe('the package', () => {
  it('has no install script, and no addon that a script would have to build', () => {
    const { scripts, gypfile, dependencies } = JSON.parse(
      readFileSync(path.join(project, 'node_modules/sightline/package.json'), 'utf8'),
    ) as Record<string, Record<string, string>>;
    for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) expect(scripts).not.toHaveProperty(name);
    expect(gypfile).toBe(false);
    for (const name of ['cmake-js', 'node-addon-api']) expect(dependencies).not.toHaveProperty(name);
    expect(existsSync(path.join(project, 'node_modules/sightline/build'))).toBe(false);
    expect(existsSync(path.join(project, 'node_modules/cmake-js'))).toBe(false);
  });

  it('holds all that its README links to', () => {
    const folder = path.join(project, 'node_modules/sightline');
    const links = [...readFileSync(path.join(folder, 'README.md'), 'utf8').matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(
      ([, link]) => link!,
    );
    expect(links.length).toBeGreaterThan(10);
    expect(links.filter((link) => !existsSync(path.join(folder, link)))).toEqual([]);
  });

  it('asks the system for nothing newer than LibTorch does, and for no folder of the machine that built it', () => {
    const folder = path.join(project, 'node_modules/sightline/prebuilds', TARGET);
    const names = filesBelow(folder, /\.node$/).sort();
    expect(names).toEqual([
      'libtorch-loader.node',
      expect.stringMatching(/^sightline-libtorch-2\.\d+\.napi\.glibc\.node$/),
    ]);
    for (const name of names) {
      const file = path.join(folder, name);
      expect(symbolVersions(file).length).toBeGreaterThan(3);
      expect(newerSymbols(file)).toEqual([]);
      expect(run(['readelf', '-d', file], { cwd: '/' }).stdout).not.toMatch(/R(UN)?PATH/);
    }
  });
});

describe('an installed package', () => {
  it.each(['app.mjs', 'app.cjs', 'worker.mjs'])('works at once where LibTorch is: %s', (program) => {
    expect(node([program])).toEqual({ code: 0, stdout: PRINTS, stderr: '' });
  });

  it.each([
    ['npm ohne Skripte', 'npm', false],
    ['pnpm mit Skripten', 'pnpm', true],
    ['pnpm ohne Skripte', 'pnpm', false],
  ] as const)('works by %s', (name, manager, scripts) => {
    const other = install(bench, name, manager, scripts);
    expect(node(['app.mjs'], bare(), other)).toEqual({ code: 0, stdout: PRINTS, stderr: '' });
    expect(node(['app.cjs'], bare(), other).stdout).toBe(PRINTS);
  });

  it('says in one sentence what to run where there is no LibTorch', () => {
    const { code, stdout } = node(['app.mjs'], bare({ SIGHTLINE_CACHE: path.join(bench.folder, 'nothing') }));
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^NATIVE_MISSING There is no LibTorch here \(.*\): run npx sightline setup, which fetches one\.\n$/,
    );
    expect(stdout).not.toContain('npm run build');
  });

  it('says what a user without a home folder must set', () => {
    const { SIGHTLINE_CACHE: _, ...env } = bare();
    const { stdout } = isRoot
      ? run(['node', 'app.mjs'], { cwd: project, env, user: STRANGER })
      : node(['app.mjs'], { ...env, HOME: 'nowhere' });
    expect(stdout).toMatch(/^NATIVE_MISSING .*this user has no home folder and SIGHTLINE_CACHE is not set/);
  });

  it('is set up without a compiler, and names the addon and why', () => {
    const setup = sightline(['setup', '--json']);
    expect(setup).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(setup.stdout)).toMatchObject({ addon: { kind: 'prebuilt' }, libtorch: { origin: 'cache' } });
    const doctor = sightline(['doctor']);
    expect(doctor.stdout).toMatch(
      new RegExp(
        `ok +addon +prebuilds/${TARGET}/sightline-libtorch-2\\.\\d+\\.napi\\.glibc\\.node, prebuilt for LibTorch 2\\.\\d+$`,
        'm',
      ),
    );
    expect(doctor.stdout).toMatch(/note +compiler +none/);
    expect(doctor).toMatchObject({ code: 0, stdout: expect.stringContaining('sightline can work here') as string });
  });

  it('asks for a compiler only where an addon is to be built', () => {
    const { code, stderr } = sightline(['setup', '--build']);
    expect(code).not.toBe(0);
    expect(stderr).toContain('There is no C++ compiler');
  });
});

describe('a container: root installs, another user runs', () => {
  it('works by SIGHTLINE_CACHE, though the package and the cache can only be read', () => {
    run(['chmod', '-R', 'a-w', path.join(project, 'node_modules'), bench.cache], { cwd: '/' });
    const options = { cwd: project, env: bare(), ...(isRoot && { user: STRANGER }) };
    expect(run(['node', 'app.mjs'], options)).toEqual({ code: 0, stdout: PRINTS, stderr: '' });
    expect(run(['node', 'node_modules/sightline/dist/cli/main.js', 'setup'], options)).toMatchObject({ code: 0 });
  });

  it('says why where LibTorch lies in a home that this user may not read', () => {
    const home = path.join(bench.folder, 'root');
    const hidden = path.join(home, '.cache/sightline/libtorch');
    mkdirSync(hidden, { recursive: true });
    writePrograms(project);
    chmodSync(home, 0o000);
    const { SIGHTLINE_CACHE: _, ...env } = bare({ HOME: home });
    const { stdout } = run(['node', 'app.mjs'], { cwd: project, env, ...(isRoot && { user: STRANGER }) });
    chmodSync(home, 0o700);
    expect(stdout).toMatch(
      /^NATIVE_MISSING .*this user may not read .*root; SIGHTLINE_CACHE can name a folder that all its users can read/,
    );
  });
});
