/**
 * Remembers which set-up steps are done: a stamp holds the hash of what went into a step, so that the step is redone
 * exactly when that changed.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of this package: two levels up from lib/setup as from dist/setup, wherever the current folder is. */
export const PACKAGE_ROOT = path.resolve(fileURLToPath(import.meta.url), '../../..');

/** Whether this is a checkout, where everything is built in place, and not a package that npm installed. */
export const IS_CHECKOUT = existsSync(path.join(PACKAGE_ROOT, 'tsconfig.json'));

/** What brings the set-up about, as a sentence's end. */
export const SET_UP = IS_CHECKOUT ? 'npm run build' : 'npx sightline setup';

/**
 * One hash over files, folders (whole, in a fixed order) and plain values.
 * @param {{ paths?: string[], values?: unknown[] }} inputs paths are absolute; a missing one counts as missing
 * @returns {string}
 */
export function hashInputs({ paths = [], values = [] }) {
  const hash = createHash('sha256');
  hash.update(JSON.stringify(values));
  for (const start of paths) {
    for (const file of filesBelow(start)) {
      const content = readFileSync(file);
      hash.update(`\0${path.relative(start, file)}\0${content.length}\0`).update(content);
    }
    hash.update('\0\0');
  }
  return hash.digest('hex');
}

/** @param {string} start @returns {string[]} */
function filesBelow(start) {
  const info = statSync(start, { throwIfNoEntry: false });
  if (info === undefined) return [];
  if (!info.isDirectory()) return [start];
  return readdirSync(start, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
}

/** The stamps of one folder, by default this package's `build/.stamps`. */
export class Stamps {
  /** @param {string} [folder] */
  constructor(folder = path.join(PACKAGE_ROOT, 'build', '.stamps')) {
    this.folder = folder;
  }

  /** @param {string} step @returns {any} what `write` was given, or null */
  read(step) {
    try {
      return JSON.parse(readFileSync(this.#file(step), 'utf8'));
    } catch {
      return null; // never written, or cut short by a crash: the step is not done
    }
  }

  /** @param {string} step @param {unknown} value */
  write(step, value) {
    mkdirSync(this.folder, { recursive: true });
    writeFileSync(this.#file(step), `${JSON.stringify(value)}\n`);
  }

  /** @param {string} step */
  forget(step) {
    rmSync(this.#file(step), { force: true });
  }

  /** @param {string} step */
  #file(step) {
    return path.join(this.folder, `${step}.json`);
  }
}
