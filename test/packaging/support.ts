import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { chooseAddon, prebuiltName } from '../../lib/setup/addon.mjs';
import { ROOT } from '../setup/fixtures.js';

/** A place with empty projects, the packed package and a LibTorch of its own, below a path with spaces and umlauts. */
export interface Bench {
  readonly folder: string;
  readonly tarball: string;
  /** What SIGHTLINE_CACHE names: LibTorch without headers, readable by all. */
  readonly cache: string;
  /** A PATH on which there is Node and nothing else. */
  readonly bin: string;
  remove(): void;
}

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export const TARGET = `${process.platform}-${process.arch}`;

/** npm by its own file, as it runs vitest too; else the one on the PATH. */
const NPM = process.env['npm_execpath']?.endsWith('npm-cli.js')
  ? [process.execPath, process.env['npm_execpath']]
  : ['npm'];
const PNPM = [process.execPath, path.join(ROOT, 'node_modules/pnpm/bin/pnpm.cjs')];

export function run(
  program: readonly string[],
  options: { cwd: string; env?: NodeJS.ProcessEnv; user?: number },
): Outcome {
  const { status, stdout, stderr, error } = spawnSync(program[0]!, program.slice(1), {
    cwd: options.cwd,
    env: options.env ?? process.env,
    encoding: 'utf8',
    ...(options.user !== undefined && { uid: options.user, gid: options.user }),
  });
  if (error !== undefined) throw error;
  return { code: status, stdout, stderr };
}

function done(program: readonly string[], cwd: string, env: NodeJS.ProcessEnv = process.env): Outcome {
  const outcome = run(program, { cwd, env });
  if (outcome.code !== 0) {
    throw new Error(`${program.join(' ')} ended with ${outcome.code}:\n${outcome.stdout}${outcome.stderr}`);
  }
  return outcome;
}

/** Files of the package as npm chooses them, but with one prebuilt addon: the one that was built here. */
function pack(folder: string): string {
  const staging = path.join(folder, 'staging');
  const [listed] = JSON.parse(done([...NPM, 'pack', '--dry-run', '--json'], ROOT).stdout) as [
    { files: { path: string }[] },
  ];
  for (const { path: name } of listed.files) {
    if (!name.startsWith('prebuilds/')) cpSync(path.join(ROOT, name), path.join(staging, name), { recursive: true });
  }
  const { addon } = chooseAddon();
  for (const file of [addon.file, path.join(path.dirname(addon.file), 'libtorch-loader.node')]) {
    cpSync(file, path.join(staging, 'prebuilds', TARGET, prebuiltName(path.basename(file))));
  }
  const [packed] = JSON.parse(done([...NPM, 'pack', '--json', '--pack-destination', folder], staging).stdout) as [
    { filename: string },
  ];
  rmSync(staging, { recursive: true });
  return path.join(folder, packed.filename);
}

export function setUpBench(): Bench {
  const outer = mkdtempSync(path.join(os.tmpdir(), 'sightline-packaging-'));
  chmodSync(outer, 0o755);
  const folder = path.join(outer, 'Größere Übung');
  const bin = path.join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  symlinkSync(process.execPath, path.join(bin, 'node'));

  const { root, version } = chooseAddon().libtorch;
  const cache = path.join(folder, 'cache');
  const libtorch = path.join(cache, 'libtorch', `${version.replace(/\+.*/, '')}-cpu`);
  mkdirSync(path.join(libtorch, 'lib'), { recursive: true });
  writeFileSync(path.join(libtorch, 'build-version'), `${version}\n`);
  for (const name of readdirSync(path.join(root, 'lib'))) {
    copyOrLink(path.join(root, 'lib', name), path.join(libtorch, 'lib', name));
  }
  return { folder, tarball: pack(folder), cache, bin, remove: () => rmSync(outer, { recursive: true, force: true }) };
}

/** A second name of the same bytes, where that is possible: LibTorch is large. */
function copyOrLink(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    cpSync(from, to);
  }
}

/** Makes an empty project, with the programs that the tests run, and installs the package into it. */
export function install(bench: Bench, name: string, manager: 'npm' | 'pnpm', scripts: boolean): string {
  const project = path.join(bench.folder, name);
  mkdirSync(project);
  writeFileSync(path.join(project, 'package.json'), JSON.stringify({ name: 'project', private: true, type: 'module' }));
  if (manager === 'npm') {
    done(
      [...NPM, 'install', bench.tarball, '--prefer-offline', '--no-audit', '--no-fund', `--ignore-scripts=${!scripts}`],
      project,
    );
  } else {
    done(
      [
        ...PNPM,
        'add',
        bench.tarball,
        '--prefer-offline',
        ...(scripts ? ['--dangerously-allow-all-builds'] : ['--ignore-scripts']),
      ],
      project,
      { ...process.env, CI: 'true' },
    );
  }
  writePrograms(project);
  return project;
}

const EXPLAIN = (picture: string): string => `
  const model = await Model.load('resnet-tiny-shapes', { device: 'cpu' });
  const [explained] = await model.explain([${picture}], { method: 'grad-cam' });
  const png = await explained.maps[0].overlay({ legend: true }).toBuffer();
  await model.close();
  return [explained.maps[0].shape.join('x'), png.subarray(1, 4).toString()].join(' ');
`;

/** What each of the programs prints. */
export const PRINTS = '224x224 PNG\n';

export function writePrograms(project: string): void {
  cpSync(path.join(ROOT, 'docs/demo.png'), path.join(project, 'picture.png'));
  const programs: Record<string, string> = {
    'app.mjs': `import { Model } from 'sightline';\nconst explain = async () => {${EXPLAIN("'picture.png'")}};\nexplain().then(console.log, (error) => { console.log(error.code, error.message); process.exitCode = 1; });\n`,
    'app.cjs': `const { Model } = require('sightline');\nconst explain = async () => {${EXPLAIN("'picture.png'")}};\nexplain().then(console.log);\n`,
    'worker.mjs':
      "import { Worker } from 'node:worker_threads';\nnew Worker(new URL('./app.mjs', import.meta.url)).on('exit', (code) => { process.exitCode = code; });\n",
  };
  for (const [name, text] of Object.entries(programs)) writeFileSync(path.join(project, name), text);
}

/** The files below a folder whose names match, by their paths from it. */
export function filesBelow(folder: string, name: RegExp): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && name.test(entry.name))
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)));
}

export { cpSync, existsSync, path, readFileSync, ROOT, writeFileSync };
