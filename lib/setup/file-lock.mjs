/**
 * A lock file for processes in whatever container on whatever machine that shares its folder: set-up takes it, and so
 * does the hub's cache (lib/hub/lock.ts). Plain JavaScript of its own, as set-up runs before any package is installed.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync, rmSync } from 'node:fs';
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** How often the holder shows that it is alive. */
const HEARTBEAT_MS = 2000;
/** A holder that showed nothing for this long is taken for dead, wherever it runs. */
const STALE_MS = 30_000;
const POLL_MS = 200;

/** @typedef {{ pid: number, host: string, id: string }} Holder */

/**
 * @param {string} file
 * @param {object} [options]
 * @param {AbortSignal} [options.signal]
 * @param {(pid: number | null) => void} [options.onWait]
 * @param {number} [options.staleMs]
 * @returns {Promise<import('./file-lock.mjs').HeldLock>}
 */
export async function acquireLock(file, options = {}) {
  const { signal, onWait, staleMs = STALE_MS } = options;
  /** @type {Holder} */
  const mine = { pid: process.pid, host: ownPlace(), id: randomUUID() };
  await mkdir(path.dirname(file), { recursive: true });
  let seen = '';
  let seenSince = performance.now();
  for (let told = false; !(await create(file, mine)); await sleep(POLL_MS, undefined, { ...(signal && { signal }) })) {
    signal?.throwIfAborted();
    const state = await look(file);
    if (state === null) continue;
    // Only the change of the stamp counts, not its value: the clocks of a shared disk and of this machine may differ.
    const sign = `${state.text} ${state.stamp}`;
    if (sign !== seen) {
      seen = sign;
      seenSince = performance.now();
    }
    if (isDead(state.holder) || performance.now() - seenSince > staleMs) {
      await takeAway(file, state.text);
      continue;
    }
    if (!told) onWait?.(state.holder?.host === mine.host ? state.holder.pid : null);
    told = true;
  }
  return hold(file, mine);
}

/** @param {string} file @param {Holder} mine @returns {import('./file-lock.mjs').HeldLock} */
function hold(file, mine) {
  const heartbeat = setInterval(() => {
    const now = new Date();
    void isHeldBy(file, mine)
      .then((ours) => (ours ? utimes(file, now, now) : undefined))
      .catch(() => undefined);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  const releaseNow = () => {
    try {
      if (parse(readFileSync(file, 'utf8'))?.id === mine.id) rmSync(file, { force: true });
    } catch {
      // Gone already.
    }
  };
  process.once('exit', releaseNow);
  return {
    isOurs: () => isHeldBy(file, mine),
    release: async () => {
      clearInterval(heartbeat);
      process.off('exit', releaseNow);
      if (await isHeldBy(file, mine)) await rm(file, { force: true });
    },
  };
}

/** @param {string} file @param {Holder} holder */
async function create(file, holder) {
  try {
    await writeFile(file, JSON.stringify(holder), { flag: 'wx' });
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** @param {string} file @returns {Promise<{ text: string, stamp: number, holder: Holder | null } | null>} */
async function look(file) {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(file, 'utf8'), stat(file)]);
    return { text, stamp: mtimeMs, holder: parse(text) };
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/** @param {string} file @param {Holder} holder */
async function isHeldBy(file, holder) {
  return (await look(file).catch(() => null))?.holder?.id === holder.id;
}

/**
 * Null for a file between its creation and its first write, and for one that is not ours to understand.
 * @param {string} text
 * @returns {Holder | null}
 */
function parse(text) {
  try {
    const { pid, host, id } = JSON.parse(text);
    return Number.isSafeInteger(pid) && pid > 0 && typeof host === 'string' && typeof id === 'string'
      ? { pid, host, id }
      : null;
  } catch {
    return null;
  }
}

/**
 * Where a process number means a process: the machine since it was started, and the namespace of numbers. Containers
 * may share a host name (as those of one pod do), and number their processes each from 1.
 */
export function ownPlace() {
  const read = (/** @type {() => string} */ from) => {
    try {
      return from().trim();
    } catch {
      // No Linux, or no /proc: the host's name has to do.
      return '';
    }
  };
  return [
    hostname(),
    read(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')),
    read(() => readlinkSync('/proc/self/ns/pid')),
  ]
    .filter((part) => part !== '')
    .join(' ');
}

/**
 * Only of processes can it be told that have their numbers where this one has its own.
 * @param {Holder | null} holder
 */
function isDead(holder) {
  if (holder === null || holder.host !== ownPlace()) return false;
  try {
    process.kill(holder.pid, 0);
    return false;
  } catch (error) {
    return codeOf(error) === 'ESRCH';
  }
}

/** @param {string} file @param {string} text what the dead holder wrote */
async function takeAway(file, text) {
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  // Another one was quicker and this is its fresh lock: it goes back, unless a third holds the name by now; then the
  // second finds by isOurs that it lost the lock.
  if ((await readFile(aside, 'utf8').catch(() => text)) !== text) await link(aside, file).catch(() => undefined);
  await rm(aside, { force: true });
}

/** @param {unknown} error */
function codeOf(error) {
  return /** @type {NodeJS.ErrnoException} */ (error).code;
}
