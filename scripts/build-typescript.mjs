/**
 * Compiles lib/ into dist/, builds the page there and adds the CommonJS entries. The new dist replaces the old one at
 * the end, so that a failure leaves what was there and nothing stale survives.
 */
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { PICTURES, buildPage } from './build-page.mjs';
import { CARRIED } from './npm-packages.mjs';
import { SetupError } from '../lib/setup/setup-error.mjs';
import { PACKAGE_ROOT, hashInputs } from '../lib/setup/stamps.mjs';

const DIST = path.join(PACKAGE_ROOT, 'dist');
/** What users import: `sightline`, `sightline/bench`, `sightline/http` and `sightline/fastify`. */
const ENTRIES = ['index', 'bench/index', 'service/http', 'service/fastify'];

export function hashTypeScriptInputs() {
  return hashInputs({
    paths: [
      ...['lib', 'tsconfig.json', 'package-lock.json', 'scripts/build-page.mjs'].map((name) =>
        path.join(PACKAGE_ROOT, name),
      ),
      PICTURES,
    ],
  });
}

/** @param {string} [inputs] hash of the last build's inputs */
export function isTypeScriptBuilt(inputs) {
  // What was carried to another machine comes without all that it was built from, and without a compiler.
  const isCarried = existsSync(path.join(PACKAGE_ROOT, CARRIED));
  return (
    (isCarried || inputs === hashTypeScriptInputs()) &&
    existsSync(path.join(DIST, 'page/index.html')) &&
    ENTRIES.every((entry) => existsSync(path.join(DIST, `${entry}.js`)) && existsSync(path.join(DIST, `${entry}.cjs`)))
  );
}

export async function buildTypeScript() {
  // Beside dist, so that the relative paths in source maps come out right.
  const staging = path.join(PACKAGE_ROOT, `dist.new-${process.pid}`);
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  try {
    const child = spawn(process.execPath, [tsc, '-p', path.join(PACKAGE_ROOT, 'tsconfig.json'), '--outDir', staging], {
      cwd: PACKAGE_ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (text) => (output += text));
    const code = await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    if (code !== 0) {
      process.stderr.write(output);
      const first = output.split('\n').find((line) => /error TS\d+/.test(line)) ?? '';
      throw new SetupError(
        `The TypeScript build failed (${first.trim() || `exit code ${code}`}): repair that and run npm run build.`,
      );
    }
    copyAssets(path.join(PACKAGE_ROOT, 'lib'), staging);
    await buildPage(path.join(staging, 'page'));
    // Node loads ES modules through require from 20.19 on, as long as none of them awaits at top level.
    for (const entry of ENTRIES) {
      const module = `'./${path.basename(entry)}.js'`;
      writeFileSync(path.join(staging, `${entry}.cjs`), `'use strict';\nmodule.exports = require(${module});\n`);
      writeFileSync(path.join(staging, `${entry}.d.cts`), `export * from ${module};\n`);
    }
    rmSync(DIST, { recursive: true, force: true });
    renameSync(staging, DIST);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

/**
 * What the code reads at run time and the compiler leaves behind: pages, style sheets, JSON.
 * @param {string} from
 * @param {string} to
 */
function copyAssets(from, to) {
  for (const entry of readdirSync(from, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || /\.[mc]?tsx?$/.test(entry.name)) continue;
    const source = path.join(entry.parentPath, entry.name);
    // The page is built, not copied.
    if (path.relative(from, source).startsWith(`page${path.sep}`)) continue;
    const target = path.join(to, path.relative(from, source));
    mkdirSync(path.dirname(target), { recursive: true });
    copyFileSync(source, target);
  }
}
