import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import yauzl from 'yauzl';
import { Progress } from './progress.mjs';
import { SetupError } from '../lib/setup/setup-error.mjs';

const openZip = /** @type {(file: string, options: yauzl.Options) => Promise<yauzl.ZipFile>} */ (promisify(yauzl.open));

/**
 * Unpacks the chosen members of a zip archive or wheel. yauzl refuses absolute names and `..`; its streams check
 * every member's size, and the CRC is left to the archive's SHA-256.
 *
 * @param {object} request
 * @param {string} request.archive
 * @param {string} request.into folder; created
 * @param {string} request.label for the progress line
 * @param {(name: string) => string | null} request.place path below `into` for a member, or null to leave it out
 * @param {(bytes: number) => Promise<void>} [request.beforeWrite] called with the unpacked size before a byte is
 * written
 * @returns {Promise<number>} how many members were written
 */
export async function unpack({ archive, into, label, place, beforeWrite }) {
  /** @type {{ entry: yauzl.Entry, target: string }[]} */
  const chosen = [];
  /** @type {yauzl.ZipFile} */
  let zip;
  try {
    zip = await openZip(archive, { lazyEntries: true, autoClose: false });
    await new Promise((resolve, reject) => {
      zip.on('error', reject);
      zip.on('end', resolve);
      zip.on('entry', (/** @type {yauzl.Entry} */ entry) => {
        const target = entry.fileName.endsWith('/') || isLink(entry) ? null : place(entry.fileName);
        if (target !== null) chosen.push({ entry, target });
        zip.readEntry();
      });
      zip.readEntry();
    });
  } catch (error) {
    throw new SetupError(
      `${archive} is no zip archive that can be read (${/** @type {Error} */ (error).message}): fetch it again.`,
      { cause: error },
    );
  }

  try {
    const total = chosen.reduce((sum, { entry }) => sum + entry.uncompressedSize, 0);
    await beforeWrite?.(total);
    const progress = new Progress(label, total);
    const openMember = /** @type {(entry: yauzl.Entry) => Promise<import('node:stream').Readable>} */ (
      promisify(zip.openReadStream.bind(zip))
    );
    const folders = new Set();
    let written = 0;
    for (const { entry, target } of chosen) {
      const file = path.join(into, target);
      const folder = path.dirname(file);
      if (!folders.has(folder)) {
        await mkdir(folder, { recursive: true });
        folders.add(folder);
      }
      const mode = (entry.externalFileAttributes >>> 16) & 0o111 ? 0o755 : 0o644;
      const member = await openMember(entry);
      member.on('data', (chunk) => progress.update((written += chunk.length)));
      await pipeline(member, createWriteStream(file, { mode }));
    }
    if (chosen.length > 0) progress.end();
    return chosen.length;
  } catch (error) {
    if (error instanceof SetupError) throw error;
    const full = /** @type {NodeJS.ErrnoException} */ (error).code === 'ENOSPC';
    throw new SetupError(
      full
        ? `The disk is full while unpacking ${archive}: free some space, or set SIGHTLINE_CACHE to a folder on a larger disk.`
        : `${archive} cannot be unpacked (${/** @type {Error} */ (error).message}): fetch it again.`,
      { cause: error },
    );
  } finally {
    zip.close();
  }
}

/** @param {yauzl.Entry} entry */
function isLink(entry) {
  return ((entry.externalFileAttributes >>> 16) & 0o170000) === 0o120000;
}
