import { acquireLock } from '../lib/setup/file-lock.mjs';

/**
 * Set-up runs programs of others to their end, in which it shows no sign of life: npm's install takes minutes on a slow
 * network.
 */
const STALE_MS = 600_000;

/**
 * Runs `work` while no other process runs under the same lock file: `npm test` and `npm run demo` started together
 * would otherwise install and build over each other. The lock of a process that has died is taken over.
 * @template T
 * @param {string} file
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(file, work) {
  const lock = await acquireLock(file, {
    staleMs: STALE_MS,
    onWait: (pid) =>
      console.error(
        `sightline: waiting for another set-up in this folder${pid === null ? '' : ` (process ${pid})`} ...`,
      ),
  });
  try {
    return await work();
  } finally {
    await lock.release();
  }
}
