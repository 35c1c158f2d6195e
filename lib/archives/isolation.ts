import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { onAbort, throwIfAborted } from '../support/abort.js';
import { SightlineError, type ErrorCode } from '../support/errors.js';
import { forked, processNotStarted } from '../support/forked.js';
import { NO_FENCE, type ProbeAnswer, type ProbeRequest } from './probe-messages.js';

/** Limits of the process in which an archive is tried first. */
export interface IsolateOptions {
  /**
   * Seconds until the probe is ended: 1 to 86,400. Also the processor time that it may take for each core that
   * LibTorch uses. Default 60.
   */
  readonly seconds?: number | undefined;
  /**
   * Memory that the probe may take beyond an empty process with LibTorch, in megabytes: 64 to 1,048,576. Linux only.
   * Default 8192.
   */
  readonly megabytes?: number | undefined;
}

export const DEFAULT_ISOLATION = { seconds: 60, megabytes: 8192 } as const;

// Only compiled code can be run as a process; tests load this file as it is written.
const PROBE = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../dist/processes/probe.js' : '../processes/probe.js', import.meta.url),
);
const KEPT_COMPLAINTS = 4000;
/** Where the system's loader looks for LibTorch, and what Windows programs cannot start without. */
const NEEDED_VARIABLES = ['LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH', 'OMP_NUM_THREADS', 'SystemRoot'];
const MEMORY_WORDS =
  /out of memory|bad_alloc|can't allocate memory|cannot allocate memory|allocation failed|DefaultCPUAllocator/i;

/**
 * Opens an archive in a process of its own first, so that what crashes, hangs or eats memory there does not do so here.
 *
 * The process gets no environment but what LibTorch needs, no standard input, an empty folder to work in, a limit on
 * its address space and processor time (Linux), and may write no file (Linux with Landlock; elsewhere files cannot
 * grow).
 *
 * @throws SightlineError PROCESS_NOT_STARTED, ARCHIVE_CRASHED, ARCHIVE_TIMED_OUT, OUT_OF_MEMORY, and what the process
 * itself reports
 */
export async function probeArchive(
  request: Omit<ProbeRequest, 'limits'>,
  { seconds = DEFAULT_ISOLATION.seconds, megabytes = DEFAULT_ISOLATION.megabytes }: IsolateOptions,
  signal?: AbortSignal,
  probe: string = PROBE,
): Promise<void> {
  const { path } = request;
  const folder = await mkdtemp(join(tmpdir(), 'sightline-probe-')).catch((cause: unknown) => {
    throw notStarted(cause);
  });
  try {
    const env: Record<string, string> = { TMPDIR: folder, CUDA_VISIBLE_DEVICES: '' };
    for (const name of NEEDED_VARIABLES) if (process.env[name] !== undefined) env[name] = process.env[name];
    const full: ProbeRequest = {
      ...request,
      // Time by the clock is what is promised; processor time only catches a probe whose parent is gone.
      limits: { addressBytes: Math.ceil(megabytes * 2 ** 20), processorSeconds: Math.ceil(seconds) * 64 },
    };
    const child = forked(notStarted, probe, [JSON.stringify(full)], {
      cwd: folder,
      env,
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'json',
    });
    let complaints = '';
    child
      .stderr!.setEncoding('utf8')
      .on('data', (text: string) => (complaints = (complaints + text).slice(-KEPT_COMPLAINTS)));
    let answer: ProbeAnswer | null = null;
    child.on('message', (message) => (answer ??= readAnswer(message)));
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, seconds * 1000);
    const stop = onAbort(signal, () => child.kill('SIGKILL'));
    const ended = once(child, 'exit')
      .catch((cause: unknown) => {
        throw notStarted(cause);
      })
      .finally(() => {
        clearTimeout(timer);
        stop();
      });
    const [code, killedBy] = (await ended) as [number | null, NodeJS.Signals | null];
    child.stderr!.destroy();
    throwIfAborted(signal);
    // SIGXCPU: how the kernel ends a process that goes beyond its processor time.
    if (isLate || killedBy === 'SIGXCPU') {
      throw new SightlineError(
        'ARCHIVE_TIMED_OUT',
        `${path} was not loaded and run on one image within ${seconds} s in a process of its own; raise isolate.seconds if the model is that slow.`,
      );
    }
    const given = answer as ProbeAnswer | null;
    if (given?.kind === 'sound') return;
    if (given?.kind === 'refused') throw new SightlineError(given.code as ErrorCode, given.message);
    if (code === NO_FENCE) {
      throw new SightlineError(
        'INTERNAL',
        'The memory of the process that probes archives cannot be limited on this system, so nothing was opened; load the archive without isolate.',
      );
    }
    // V8 and the C++ library abort where they get no memory; the kernel kills what takes more than the machine has.
    if (killedBy === 'SIGKILL' || MEMORY_WORDS.test(complaints)) {
      throw new SightlineError(
        'OUT_OF_MEMORY',
        `${path} takes more than ${megabytes} MB to load and run on one image; raise isolate.megabytes if the model is that large.`,
      );
    }
    throw new SightlineError(
      'ARCHIVE_CRASHED',
      `${path} crashed the process that it was opened in (${killedBy ?? nameOfExit(code)}); it is damaged or forged, export the model again.`,
      { details: { signal: killedBy, exitCode: code, complaints } },
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const notStarted = (cause: unknown): SightlineError =>
  processNotStarted('The process that probes archives', 'or load the archive without isolate', cause);

function readAnswer(message: unknown): ProbeAnswer | null {
  if (typeof message !== 'object' || message === null) return null;
  const { kind, code, message: text } = message as Record<string, unknown>;
  if (kind === 'sound') return { kind };
  if (kind === 'refused' && typeof code === 'string' && typeof text === 'string') return { kind, code, message: text };
  return null;
}

/** Shells' way of passing a signal on. */
function nameOfExit(code: number | null): string {
  const name = Object.entries(constants.signals).find(([, number]) => number === (code ?? 0) - 128)?.[0];
  return name ?? `exit code ${String(code)}`;
}
