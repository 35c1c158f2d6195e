import { randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { readFileSync, readlinkSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** How often the holder shows that it is alive. */
const HEARTBEAT_MS = 2000;
/** A holder that showed nothing for this long is taken for dead, wherever it runs. */
const STALE_MS = 30_000;
const POLL_MS = 200;

/** A lock that is held. */
export interface HeldLock {
  /**
   * Whether it is still ours. A process that was stopped for longer than the others were willing to wait has lost it,
   * and must write no more.
   */
  isOurs(): Promise<boolean>;
  release(): Promise<void>;
}

interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly id: string;
}

/**
 * Waits until no other process, in whatever container on whatever machine that shares the folder, holds the lock file.
 *
 * huggingface_hub's own locks are flock(2), which Node cannot take; this is a file that says who holds it and whose
 * time stamp the holder renews. The lock of a process that was killed is taken over: at once where the process can be
 * looked up, else after half a minute without a sign. Taking over renames the file first and looks at what it took, so
 * that of two who find the same dead holder only one gets the lock.
 *
 * @param options.onWait called once, when another one holds it
 * @param options.signal aborts the wait with the signal's reason
 * @param options.staleMs for tests
 */
export async function acquireLock(file: string, options: { readonly signal?: AbortSignal | undefined; readonly onWait?: () => void; readonly staleMs?: number } = {}): Promise<HeldLock> {
  const { signal, onWait, staleMs = STALE_MS } = options;
  const mine: Holder = { pid: process.pid, host: ownPlace(), id: randomUUID() };
  await mkdir(dirname(file), { recursive: true });
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
    if (!told) onWait?.();
    told = true;
  }
  return hold(file, mine);
}

function hold(file: string, mine: Holder): HeldLock {
  const heartbeat = setInterval(() => {
    const now = new Date();
    void isHeldBy(file, mine).then((ours) => (ours ? utimes(file, now, now) : undefined)).catch(() => undefined);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  const releaseNow = (): void => {
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

async function create(file: string, holder: Holder): Promise<boolean> {
  try {
    await writeFile(file, JSON.stringify(holder), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function look(file: string): Promise<{ text: string; stamp: number; holder: Holder | null } | null> {
  try {
    const [text, { mtimeMs }] = await Promise.all([readFile(file, 'utf8'), stat(file)]);
    return { text, stamp: mtimeMs, holder: parse(text) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

async function isHeldBy(file: string, holder: Holder): Promise<boolean> {
  return (await look(file).catch(() => null))?.holder?.id === holder.id;
}

/** Null for a file between its creation and its first write, and for one that is not ours to understand. */
function parse(text: string): Holder | null {
  try {
    const { pid, host, id } = JSON.parse(text) as Partial<Holder>;
    return Number.isSafeInteger(pid) && (pid as number) > 0 && typeof host === 'string' && typeof id === 'string' ? { pid: pid as number, host, id } : null;
  } catch {
    return null;
  }
}

/**
 * Where a process number means a process: the machine since it was started, and the namespace of numbers. Containers may share
 * a host name (as those of one pod do), and number their processes each from 1.
 */
export function ownPlace(): string {
  const read = (from: () => string): string => {
    try {
      return from().trim();
    } catch {
      // No Linux, or no /proc: the host's name has to do.
      return '';
    }
  };
  return [hostname(), read(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')), read(() => readlinkSync('/proc/self/ns/pid'))].filter((part) => part !== '').join(' ');
}

/** Only of processes can it be told that have their numbers where this one has its own. */
function isDead(holder: Holder | null): boolean {
  if (holder === null || holder.host !== ownPlace()) return false;
  try {
    process.kill(holder.pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

async function takeAway(file: string, text: string): Promise<void> {
  const aside = `${file}.${randomUUID()}`;
  try {
    await rename(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  // Another one was quicker and this is its fresh lock: it goes back, unless a third holds the name by now; then the
  // second finds by isOurs that it lost the lock.
  if ((await readFile(aside, 'utf8').catch(() => text)) !== text) await link(aside, file).catch(() => undefined);
  await rm(aside, { force: true });
}
