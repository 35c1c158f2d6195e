import { constants, mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

import { SightlineError } from '../support/errors.js';
import type { CachedRepository } from './cache.js';
import { causeOf } from './connection.js';
import { digestFor } from './digest.js';
import { requireSpace } from './disk.js';
import { acquireLock, type HeldLock } from './lock.js';
import type { RemoteFile, RemoteRepository } from './remote.js';

/** What a transfer tells on its way. */
export interface TransferEvents {
  /** Bytes of the file that are here; `resumed` of them were here before this transfer. */
  readonly onBytes: (done: number, resumed: number) => void;
  /** Another process fetches the same file. */
  readonly onWait: () => void;
}

/** Looks at the lock again after this long: a process that was stopped may have lost it. */
const LOCK_CHECK_MS = 5000;

/**
 * Brings a file's contents to `blobs/HASH` and returns how many bytes came over the network (0: it was here).
 *
 * The bytes collect in a partial file; what a broken connection, Ctrl-C or a killed process left there is kept, and the
 * next attempt asks for the rest only. The hash of the whole is checked before the file gets its name, so that whatever
 * has that name is whole, and a partial that turns out wrong is removed.
 *
 * @throws SightlineError HUB_UNREACHABLE, HUB_REFUSED, WRONG_HASH, DISK_FULL; the system's errors; the signal's reason
 */
export async function transfer(
  cached: CachedRepository,
  remote: RemoteRepository,
  commit: string,
  file: RemoteFile,
  events: TransferEvents,
): Promise<number> {
  const blob = cached.blob(file.blob);
  const isHere = async (): Promise<boolean> => (await stat(blob).catch(() => null))?.size === file.size;
  if (await isHere()) return 0;
  await mkdir(dirname(blob), { recursive: true });
  for (;;) {
    const lock = await acquireLock(cached.lock(file.blob), { signal: remote.signal, onWait: events.onWait });
    try {
      // Another process may have brought it while we waited.
      if (await isHere()) return 0;
      return await new Transfer(cached, remote, commit, file, events, lock).run();
    } catch (error) {
      if (!(error instanceof LostLock)) throw error;
    } finally {
      await lock.release();
    }
  }
}

/** Another process took the lock over: it carries on, and we wait for it. */
class LostLock extends Error {}

class Transfer {
  readonly #partial: string;
  #received = 0;
  #lockCheckedAt = performance.now();

  constructor(
    private readonly cached: CachedRepository,
    private readonly remote: RemoteRepository,
    private readonly commit: string,
    private readonly file: RemoteFile,
    private readonly events: TransferEvents,
    private readonly lock: HeldLock,
  ) {
    this.#partial = cached.partial(file.blob);
  }

  async run(): Promise<number> {
    const handle = await open(this.#partial, constants.O_RDWR | constants.O_CREAT, 0o666);
    try {
      let resumed = await this.#lengthOf(handle);
      await requireSpace(this.cached.cache, dirname(this.#partial), this.file.path, this.file.size - resumed);
      let digest = await this.#fill(handle, resumed);
      if (digest !== this.file.blob && resumed > 0) {
        // What lay here may have been torn by a power cut; only a transfer of our own tells about the server.
        await handle.truncate(0);
        resumed = 0;
        digest = await this.#fill(handle, 0);
      }
      if (digest !== this.file.blob) throw this.#wrong(`has the hash ${digest} and not ${this.file.blob}`);
      await this.#requireLock(true);
      await handle.sync();
    } catch (error) {
      if (error instanceof SightlineError && error.code === 'WRONG_HASH') await rm(this.#partial, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
    await rename(this.#partial, this.cached.blob(this.file.blob));
    await syncFolder(dirname(this.#partial));
    return this.#received;
  }

  async #lengthOf(handle: FileHandle): Promise<number> {
    const { size } = await handle.stat();
    if (size <= this.file.size) return size;
    await handle.truncate(0);
    return 0;
  }

  /** Fetches from a byte on to the end, through any number of broken connections; returns the hash of the whole. */
  async #fill(handle: FileHandle, start: number): Promise<string> {
    const { size } = this.file;
    const { retries } = this.remote.connection;
    let digest = await this.#digestOf(handle, start);
    let done = start;
    this.events.onBytes(done, start);
    for (let barren = 0, furthest = done; done < size;) {
      let reason: string;
      try {
        const { response } = await this.remote.contents(this.commit, this.file, done);
        if (!this.#continues(response.status, response.headers.get('content-range'), done)) {
          digest = digestFor(this.file.blob, size);
          done = 0;
          await handle.truncate(0);
        }
        if (response.status === 416) await response.body?.cancel();
        for await (const chunk of response.status === 416 ? [] : (response.body ?? [])) {
          const bytes = chunk as Uint8Array;
          if (done + bytes.length > size) throw this.#wrong(`is longer than the ${size} bytes that the hub lists`);
          await this.#requireLock();
          await writeAll(handle, bytes, done);
          digest.update(bytes);
          done += bytes.length;
          this.#received += bytes.length;
          this.events.onBytes(done, start);
        }
        reason = `the connection closed after ${done} of ${size} bytes`;
      } catch (error) {
        this.remote.signal?.throwIfAborted();
        // Only files have a system call here: what breaks a connection, fetch wraps.
        if (
          error instanceof SightlineError ||
          error instanceof LostLock ||
          (error as NodeJS.ErrnoException).syscall !== undefined
        ) {
          throw error;
        }
        reason = `the connection broke after ${done} of ${size} bytes: ${causeOf(error)}`;
      }
      if (done >= size) break;
      // An attempt that got further than any before is no failure: a large file over a bad line takes many.
      barren = done > furthest ? 0 : barren + 1;
      furthest = Math.max(furthest, done);
      if (barren >= retries.attempts) {
        throw this.remote.connection.unreachable(`${reason}; all that has arrived is kept for the next pull`);
      }
      await this.remote.connection.pause(reason, retries.backoffMs * 2 ** barren, this.remote.signal);
    }
    return digest.digest('hex');
  }

  /** Whether the answer goes on where we stopped, rather than with the first byte. */
  #continues(status: number, range: string | null, asked: number): boolean {
    if (asked === 0) return true;
    // A server without ranges sends the whole again; 416 says that it has less than we do, so what we have is wrong.
    if (status === 200 || status === 416) return false;
    const [, first, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(range ?? '') ?? [];
    if (Number(first) === asked && (total === '*' || Number(total) === this.file.size)) return true;
    throw this.#wrong(
      `comes as ${JSON.stringify(range)} where bytes from ${asked} of ${this.file.size} were asked for`,
    );
  }

  async #digestOf(handle: FileHandle, length: number) {
    const digest = digestFor(this.file.blob, this.file.size);
    const buffer = Buffer.allocUnsafe(1 << 20);
    for (let at = 0; at < length;) {
      this.remote.signal?.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, length - at), at);
      if (bytesRead === 0) throw new Error(`${this.#partial} ended while it was read`);
      digest.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
    return digest;
  }

  async #requireLock(now = false): Promise<void> {
    if (!now && performance.now() - this.#lockCheckedAt < LOCK_CHECK_MS) return;
    if (!(await this.lock.isOurs())) throw new LostLock();
    this.#lockCheckedAt = performance.now();
  }

  #wrong(how: string): SightlineError {
    const { path, blob } = this.file;
    return new SightlineError(
      'WRONG_HASH',
      `${path} of ${this.remote.repository}, as ${this.remote.connection.name} sent it, ${how}: it was removed; pull again, or set HF_ENDPOINT to another mirror.`,
      { details: { file: path, expected: blob } },
    );
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    written += (await handle.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
  }
}

/** So that the new name outlives a power cut; not every system can. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => null);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
