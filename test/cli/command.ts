import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, onTestFinished } from 'vitest';

import type { ModelCard } from '../../lib/index.js';
import { withLock } from '../../scripts/lock.mjs';

export const ROOT = path.resolve(import.meta.dirname, '../..');
export const DEMO = path.join(ROOT, 'models', 'demo');
export const MAIN = path.join(ROOT, 'dist', 'cli', 'main.js');

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Compiles lib/ before the tests of a file, unless dist/ is newer, as it is under `npm test`. */
export function useBuiltCommand(): void {
  beforeAll(async () => {
    await withLock(path.join(ROOT, 'build', '.test-typescript.lock'), async () => {
      const sources = readdirSync(path.join(ROOT, 'lib'), { recursive: true, withFileTypes: true }).filter((entry) =>
        entry.isFile(),
      );
      const newest = Math.max(...sources.map((entry) => statSync(path.join(entry.parentPath, entry.name)).mtimeMs));
      if (existsSync(MAIN) && statSync(MAIN).mtimeMs >= newest) return;
      await promisify(execFile)(process.execPath, [
        path.join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'),
        '-p',
        ROOT,
      ]);
    });
  });
}

/** Runs `sightline` with its working directory in the repository, and waits for its end. */
export function sightline(...args: string[]): Promise<Outcome> {
  return node(MAIN, ...args);
}

/** The same in another working directory. */
export function sightlineIn(folder: string, ...args: string[]): Promise<Outcome> {
  return nodeIn(folder, MAIN, ...args);
}

export function node(...args: string[]): Promise<Outcome> {
  return nodeIn(ROOT, ...args);
}

function nodeIn(cwd: string, ...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd, maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr });
    });
  });
}

/** Runs it with `--json`; stdout must be one document. */
export async function answerOf<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await sightline(...args, '--json');
  if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

/** A folder that goes when the running test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sightline-cli-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A folder for all tests of a file. */
export function fileFolder(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sightline-cli-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function cardFor(width: number, height: number): ModelCard {
  return {
    name: 'test',
    input: {
      width,
      height,
      mean: [0.5, 0.5, 0.5],
      std: [0.25, 0.25, 0.25],
      resize: { mode: 'exact', size: [width, height] },
      interpolation: 'bilinear',
      crop: 'none',
    },
  };
}

/** Puts an archive of test/parity into a folder, with a card of that input size. Returns its path. */
export function archiveIn(folder: string, name: string, width: number, height: number): string {
  const archive = path.join(folder, `${name}.pt`);
  copyFileSync(path.join(ROOT, 'test', 'parity', 'archives', `${name}.pt`), archive);
  writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(cardFor(width, height)));
  return archive;
}
