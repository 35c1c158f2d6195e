import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { promises, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { acquireLock, ownPlace } from '../../lib/hub/lock.js';
import { pullFrom } from '../../lib/hub/pull.js';
import { skeletonOf } from '../../lib/models/catalog.js';
import { MAIN, ROOT, useBuiltCommand } from '../cli/command.js';
import { safetensorsOf, seeded } from '../support/checkpoints.js';
import type { LoopbackHub } from '../support/hub.js';
import {
  HURRY,
  TEST_VIT_CONFIG,
  catalogOf,
  environmentOf,
  filesBelow,
  safetensors,
  sha256,
  temporaryFolder,
  useHub,
  vitRepository,
} from './fixtures.js';

useBuiltCommand();

const NONE = catalogOf();
const { card: skeleton } = await skeletonOf('test_vit');
const weightsOf = (classes: number): Buffer => safetensorsOf(seeded(skeleton, classes, 101));
const weights = weightsOf(3);
const flowers = {
  'config.json': TEST_VIT_CONFIG,
  'model.safetensors': { lfs: weights },
};

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `sightline pull` in a process of its own. */
function startPull(
  hub: LoopbackHub,
  home: string,
  ...args: string[]
): { process: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [MAIN, 'pull', ...args], {
    cwd: ROOT,
    env: { ...process.env, ...environmentOf(hub, home) },
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text) => (stdout += String(text)));
  child.stderr.on('data', (text) => (stderr += String(text)));
  onTestFinished(() => void child.kill('SIGKILL'));
  return {
    process: child,
    ended: new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))),
  };
}

function partialBytes(cache: string): number {
  try {
    const folder = join(cache, 'models--me--flowers', 'blobs');
    const partial = readdirSync(folder).find(
      (file) => file.startsWith(sha256(weights)) && file.endsWith('.incomplete'),
    );
    return partial === undefined ? 0 : statSync(join(folder, partial)).size;
  } catch {
    return 0;
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}

function contentsRequests(hub: LoopbackHub) {
  return hub.requests.filter(({ server }) => server === 'cdn');
}

describe('processes', () => {
  it('that pull the same at once share one transfer', async () => {
    const { hub, home, cache } = await useHub();
    hub.add('me/flowers', flowers);
    hub.failWith(({ server }) => (server === 'cdn' ? { piece: 100_000, pauseMs: 50 } : undefined));
    const ends = await Promise.all([1, 2, 3].map(() => startPull(hub, home, 'me/flowers', '--json').ended));
    const answers = ends.map(({ stdout }) => JSON.parse(stdout) as { files: { path: string }[]; transferred: number });
    expect(ends.map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(new Set(answers.map(({ files }) => files[0]!.path)).size).toBe(1);
    expect(sha256(readFileSync(answers[0]!.files[0]!.path))).toBe(sha256(weights));
    expect(contentsRequests(hub)).toHaveLength(1);
    expect(answers.filter(({ transferred }) => transferred >= weights.length)).toHaveLength(1);
    expect(filesBelow(cache).filter((file) => /lock|incomplete|tmp/.test(file))).toEqual([]);
  });

  it('that are killed leave what the next one completes', async () => {
    const { hub, home, cache } = await useHub();
    hub.add('me/flowers', flowers);
    hub.failWith(({ server }) => (server === 'cdn' ? { piece: 100_000, pauseMs: 30 } : undefined));
    const killed = startPull(hub, home, 'me/flowers');
    await until(() => partialBytes(cache) >= 500_000);
    killed.process.kill('SIGKILL');
    expect((await killed.ended).signal).toBe('SIGKILL');
    const arrived = partialBytes(cache);
    // Its lock is still there, and is no hindrance.
    expect(filesBelow(cache).some((file) => file.endsWith('.sightline.lock'))).toBe(true);
    hub.failWith(() => undefined);
    const before = hub.requests.length;
    const { code, stdout } = await startPull(hub, home, 'me/flowers', '--json').ended;
    expect(code).toBe(0);
    const { transferred, files } = JSON.parse(stdout) as { transferred: number; files: { path: string }[] };
    expect(transferred).toBe(weights.length - arrived);
    expect(
      hub.requests
        .slice(before)
        .filter(({ server }) => server === 'cdn')
        .map(({ headers }) => headers.range),
    ).toEqual([`bytes=${arrived}-`]);
    expect(sha256(readFileSync(files[0]!.path))).toBe(sha256(weights));
  });

  it('that are interrupted by Ctrl-C say so, and leave what the next one completes', async () => {
    const { hub, home, cache } = await useHub();
    hub.add('me/flowers', flowers);
    hub.failWith(({ server }) => (server === 'cdn' ? { piece: 100_000, pauseMs: 30 } : undefined));
    const interrupted = startPull(hub, home, 'me/flowers');
    await until(() => partialBytes(cache) >= 300_000);
    interrupted.process.kill('SIGINT');
    const { code, stdout, stderr } = await interrupted.ended;
    expect([code, stdout]).toEqual([130, '']);
    expect(stderr).toContain(
      'sightline: The pull was aborted. All that has arrived is kept, and the next pull goes on from there.',
    );
    expect(filesBelow(cache).some((file) => file.endsWith('.lock'))).toBe(false);
    const arrived = partialBytes(cache);
    hub.failWith(() => undefined);
    expect((await pullFrom(NONE, 'me/flowers', {}, HURRY)).transferred).toBe(weights.length - arrived);
  });

  it('print one document, or lines for people', async () => {
    const { hub, home } = await useHub();
    const commit = hub.add('me/flowers', flowers);
    const { code, stdout, stderr } = await startPull(hub, home, 'me/flowers').ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^me\/flowers is here: test_vit, 1\.2 MB, of which 1\.2 MB came now\.\n {2}\/.*model\.safetensors\nExplain a photo: sightline explain photo\.jpg --model me\/flowers\n$/,
    );
    expect(stderr).toMatch(/^ {2}model\.safetensors: 1\.2 MB of 1\.2 MB \(100 %\)/);
    const again = await startPull(hub, home, 'me/flowers', '--json').ended;
    expect(JSON.parse(again.stdout)).toMatchObject({
      name: 'me/flowers',
      architecture: 'test_vit',
      repository: 'me/flowers',
      revision: 'main',
      commit,
      labels: ['rose', 'tulip', 'daisy'],
      transferred: 0,
      files: [{ bytes: weights.length }],
    });
    // By a name of the catalog that ships, whose repository is on this hub too.
    const thousand = weightsOf(1000);
    hub.add('timm/test_vit.r160_in1k', { 'model.safetensors': { lfs: thousand } });
    const named = await startPull(hub, home, 'test_vit', '--json').ended;
    expect(JSON.parse(named.stdout)).toMatchObject({
      name: 'test_vit',
      architecture: 'test_vit',
      repository: 'timm/test_vit.r160_in1k',
      labels: 'imagenet-1k',
      transferred: thousand.length,
    });
    const mistyped = await startPull(hub, home, 'vit_bas_patch16_224').ended;
    expect([mistyped.code, mistyped.stdout]).toEqual([2, '']);
    expect(mistyped.stderr).toMatch(
      /^sightline: There is no model "vit_bas_patch16_224" in the catalog.* Did you mean "vit_base_patch16_224"/,
    );
    hub.failWith(() => ({ status: 401, headers: { 'x-error-code': 'GatedRepo' } }));
    const refused = await startPull(hub, home, 'me/gated', '--json').ended;
    expect(refused.code).toBe(2);
    expect(JSON.parse(refused.stdout)).toEqual({
      error: { code: 'HUB_REFUSED', message: expect.stringContaining('me/gated is gated') },
    });
  });
});

describe('a lock', () => {
  it('lets in one after the other, in one process too', async () => {
    const file = join(temporaryFolder(), 'sub', 'x.lock');
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 5 }, async () => {
        const lock = await acquireLock(file);
        most = Math.max(most, ++inside);
        await sleep(20);
        inside--;
        await lock.release();
      }),
    );
    expect(most).toBe(1);
  });

  it('of a process that died is taken over at once, by one', async () => {
    const file = join(temporaryFolder(), 'x.lock');
    const dead = spawn(process.execPath, ['-e', '']);
    await new Promise((resolve) => dead.on('close', resolve));
    writeFileSync(file, JSON.stringify({ pid: dead.pid, host: ownPlace(), id: 'dead' }));
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        const lock = await acquireLock(file);
        most = Math.max(most, ++inside);
        await sleep(10);
        expect(await lock.isOurs()).toBe(true);
        inside--;
        await lock.release();
      }),
    );
    expect(most).toBe(1);
  });

  it('of a container with the same host name is not taken for dead by its process number', async () => {
    const file = join(temporaryFolder(), 'x.lock');
    const { hostname } = await import('node:os');
    // No process has this number here; there it may.
    writeFileSync(
      file,
      JSON.stringify({
        pid: 2 ** 30,
        host: ownPlace()
          .replace(/pid:\[\d+\]/, 'pid:[1]')
          .replace(/^[^ ]+$/, 'another'),
        id: 'theirs',
      }),
    );
    expect(readFileSync(file, 'utf8')).toContain(process.platform === 'linux' ? hostname() : 'another');
    await expect(acquireLock(file, { signal: AbortSignal.timeout(600) })).rejects.toThrow();
    expect(readFileSync(file, 'utf8')).toContain('theirs');
  });

  it('of another machine is waited for, until the signal says otherwise', async () => {
    const file = join(temporaryFolder(), 'x.lock');
    writeFileSync(file, JSON.stringify({ pid: 1, host: 'elsewhere.invalid', id: 'theirs' }));
    const waits = vi.fn();
    await expect(acquireLock(file, { signal: AbortSignal.timeout(500), onWait: waits })).rejects.toThrow();
    expect(waits).toHaveBeenCalledOnce();
    expect(readFileSync(file, 'utf8')).toContain('theirs');
    // Its holder's signs of life count, whatever the clock says.
    utimesSync(file, 0, 0);
    await expect(acquireLock(file, { signal: AbortSignal.timeout(300) })).rejects.toThrow();
  });

  it('that shows no sign of life is taken over, and one that does is not', async () => {
    const folder = temporaryFolder();
    const silent = join(folder, 'silent.lock');
    writeFileSync(silent, JSON.stringify({ pid: 1, host: 'elsewhere.invalid', id: 'theirs' }));
    const lock = await acquireLock(silent, { staleMs: 600 });
    expect(await lock.isOurs()).toBe(true);
    await lock.release();

    const alive = join(folder, 'alive.lock');
    writeFileSync(alive, JSON.stringify({ pid: 1, host: 'elsewhere.invalid', id: 'theirs' }));
    let beat = 1_000_000;
    const heart = setInterval(() => utimesSync(alive, ++beat, beat), 50);
    await expect(acquireLock(alive, { staleMs: 600, signal: AbortSignal.timeout(2000) })).rejects.toThrow();
    clearInterval(heart);
    expect(readFileSync(alive, 'utf8')).toContain('theirs');
  });

  it('that was lost is not released for the one who has it now', async () => {
    const file = join(temporaryFolder(), 'x.lock');
    const lost = await acquireLock(file);
    writeFileSync(file, JSON.stringify({ pid: 1, host: 'elsewhere.invalid', id: 'theirs' }));
    expect(await lost.isOurs()).toBe(false);
    await lost.release();
    expect(readFileSync(file, 'utf8')).toContain('theirs');
  });
});

interface SmallDisk {
  readonly folder: string;
  /** Lets no more than this be written from now on. */
  fill(): void;
  free(): void;
}

/** A file system of 1 MB; null where this process may not mount one. */
function mountSmallDisk(folder: string): SmallDisk | null {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' });
  } catch {
    return null;
  }
  onTestFinished(() => void execFileSync('umount', ['-l', folder], { stdio: 'ignore' }));
  const filler = join(folder, 'filler');
  return {
    folder,
    fill: () => {
      try {
        writeFileSync(filler, Buffer.alloc(1 << 20));
      } catch {
        // Full, as was meant.
      }
    },
    free: () => rmSync(filler),
  };
}

/** The same by lies of the system's calls: `statfs` tells of 1 MB, and writes to open files fail once it is full. */
async function pretendSmallDisk(folder: string): Promise<SmallDisk> {
  let isFull = false;
  const handle = await promises.open(join(folder, 'probe'), 'w');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const original = prototype.write;
  vi.spyOn(prototype, 'write').mockImplementation(function (
    this: FileHandle,
    ...args: Parameters<FileHandle['write']>
  ) {
    if (isFull) {
      return Promise.reject(
        Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' }),
      );
    }
    return Reflect.apply<FileHandle, Parameters<FileHandle['write']>, ReturnType<FileHandle['write']>>(
      original,
      this,
      args,
    );
  });
  vi.spyOn(promises, 'statfs').mockImplementation((() =>
    Promise.resolve({ bavail: 256, bsize: 4096 })) as unknown as typeof promises.statfs);
  syncBuiltinESMExports();
  onTestFinished(() => {
    vi.restoreAllMocks();
    syncBuiltinESMExports();
  });
  return { folder, fill: () => void (isFull = true), free: () => void (isFull = false) };
}

describe('a full disk', () => {
  it.each(['mounted', 'pretended'])(
    'is told before the transfer, or as soon as it shows, and what has arrived is of use later (%s)',
    async (kind) => {
      const { hub } = await useHub();
      const folder = temporaryFolder();
      // Only root may mount, and in most containers not even root.
      const disk = (kind === 'mounted' ? mountSmallDisk(folder) : null) ?? (await pretendSmallDisk(folder));
      vi.stubEnv('HF_HUB_CACHE', folder);
      // Two million bytes do not fit, and that is known beforehand.
      hub.add('me/flowers', vitRepository(safetensors(500_000)));
      await expect(pullFrom(NONE, 'me/flowers', {}, HURRY)).rejects.toMatchObject({
        code: 'DISK_FULL',
        message: expect.stringMatching(
          /^There is no room left in .* \(model\.safetensors needs 2\.0 MB there, and \d\.\d MB are free\): free some space, or set HF_HUB_CACHE/,
        ),
      });
      expect(contentsRequests(hub)).toEqual([]);

      // These would fit, but another program is quicker.
      const smaller = safetensors(200_000);
      hub.add('me/flowers', vitRepository(smaller));
      hub.failWith(({ server }) => (server === 'cdn' ? { piece: 50_000, pauseMs: 10 } : undefined));
      const onProgress = ({ file, done }: { file: string; done: number }): void => {
        if (file === 'model.safetensors' && done >= 100_000) disk.fill();
      };
      await expect(pullFrom(NONE, 'me/flowers', { onProgress }, HURRY)).rejects.toMatchObject({
        code: 'DISK_FULL',
        message: expect.stringContaining('all that has arrived is kept'),
      });
      disk.free();
      hub.failWith(() => undefined);
      const pulled = await pullFrom(NONE, 'me/flowers', {}, HURRY);
      expect(pulled.transferred).toBeLessThan(smaller.length);
      expect(sha256(readFileSync(pulled.files[0]!))).toBe(sha256(smaller));
    },
  );
});
