#!/usr/bin/env node
/**
 * Tries the addons of prebuilds/ as users get them: packs the package, installs it into an empty project, and explains
 * a photo by the bundled network once with each LibTorch that is named, with Node and nothing else on the PATH.
 *
 *   node scripts/try-prebuilds.mjs LIBTORCH... [--photo FILE --label LABEL]
 *
 * Each LIBTORCH is a folder with lib/, such as site-packages/torch of a Python. Fails where an addon asks for newer
 * symbols than LibTorch, where one does not load, or where the class is not LABEL.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { PREBUILDS } from '../lib/setup/addon.mjs';
import { SetupError, isMain, runCommand } from '../lib/setup/setup-error.mjs';
import { PACKAGE_ROOT } from '../lib/setup/stamps.mjs';
import { newerSymbols } from './symbol-versions.mjs';

const PROGRAM = `
import { Model, versions } from 'sightline';
const model = await Model.load('efficientnet-lite0', { device: 'cpu' });
const [{ maps: [map] }] = await model.explain([process.argv[2]], { method: 'grad-cam', size: 'grid' });
await model.close();
const { label, score } = map.target;
console.log(JSON.stringify({ libtorch: versions().libtorch, label, score, state: map.state, map: [...map.data] }));
`;

/** @typedef {{ libtorch: string, label: string, score: number, state: string, map: number[] }} Answer */

/** @param {string} program @param {string[]} args @param {string} cwd @param {NodeJS.ProcessEnv} [env] */
function run(program, args, cwd, env = process.env) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, env, encoding: 'utf8' });
  if (status === 0) return stdout;
  const reason = error?.message ?? /^\w*Error: (.+)$/m.exec(stderr)?.[1] ?? stderr.trim();
  throw new SetupError(`${path.basename(program)} ${args.join(' ')} failed: ${reason}`);
}

/** @param {string} folder @returns {string} a project that has the package, and node alone in its folder `bin` */
function install(folder) {
  const [packed] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', folder], PACKAGE_ROOT));
  const project = path.join(folder, 'project');
  mkdirSync(path.join(project, 'bin'), { recursive: true });
  symlinkSync(process.execPath, path.join(project, 'bin', 'node'));
  writeFileSync(path.join(project, 'package.json'), JSON.stringify({ name: 'project', private: true, type: 'module' }));
  writeFileSync(path.join(project, 'app.mjs'), PROGRAM);
  const tarball = path.join(folder, packed.filename);
  run('npm', ['install', tarball, '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'], project);
  return project;
}

/** @param {string[]} args */
function main(args) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { photo: { type: 'string' }, label: { type: 'string' } },
  });
  if (positionals.length === 0) throw new SetupError('Name the folders of the LibTorch versions to try.');
  if ((values.photo === undefined) !== (values.label === undefined)) {
    throw new SetupError('--photo and --label go together: the class that is expected of the photo.');
  }
  const photo = path.resolve(values.photo ?? path.join(PACKAGE_ROOT, 'models/demo/photos/coffee.jpg'));
  const label = values.label ?? 'espresso';
  for (const name of readdirSync(PREBUILDS)) {
    const newer = newerSymbols(path.join(PREBUILDS, name));
    if (newer.length > 0) throw new SetupError(`${name} asks for ${newer.join(', ')}, which LibTorch does not.`);
    console.log(`${name}: no symbol that is newer than LibTorch's`);
  }
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sightline-prebuilds-'));
  try {
    const project = install(folder);
    const env = { PATH: path.join(project, 'bin'), SIGHTLINE_CACHE: path.join(folder, 'cache') };
    /** @type {Answer | null} */
    let first = null;
    for (const root of positionals) {
      /** @type {Answer} */
      const answer = JSON.parse(
        run(process.execPath, ['app.mjs', photo], project, { ...env, LIBTORCH: path.resolve(root) }),
      );
      first ??= answer;
      const { map } = first;
      const apart = answer.map.reduce((most, value, i) => Math.max(most, Math.abs(value - (map[i] ?? NaN))), 0);
      console.log(
        `LibTorch ${answer.libtorch}: ${answer.label}, ${answer.score.toFixed(4)}; its map is ${apart.toExponential(1)} from the first's`,
      );
      if (answer.state !== 'ok') throw new SetupError(`The map is ${answer.state}.`);
      if (answer.label !== label) throw new SetupError(`The class is ${answer.label}, and ${label} was expected.`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (isMain(import.meta.url)) await runCommand(async () => main(process.argv.slice(2)));
