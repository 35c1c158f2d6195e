import { readFileSync } from 'node:fs';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread } from 'node:worker_threads';

import { chooseAddon, loadAddon } from '../setup/addon.mjs';
import { SightlineError, type ErrorCode } from '../support/errors.js';
import { cpuQuota } from './cpu-quota.js';
import type { NativeBinding } from './native-types.js';

let loaded: NativeBinding | null = null;

/**
 * The addon, loaded on first use.
 *
 * @throws SightlineError NATIVE_MISSING when there is no LibTorch, or no addon for it.
 */
export function binding(): NativeBinding {
  if (loaded) return loaded;
  // GNU OpenMP's threads spin while they wait. Where other work wants the cores as well, that spinning takes the time
  // of the thread that is waited for, and runs become ten times slower. Read once, when the library is loaded.
  process.env['GOMP_SPINCOUNT'] ??= '1000';
  try {
    loaded = loadAddon(chooseAddon()) as NativeBinding;
  } catch (cause) {
    // Its sentences say what to run; anything else is a fault of ours.
    if (!(cause instanceof Error) || cause.name !== 'SetupError') throw cause;
    throw new SightlineError('NATIVE_MISSING', cause.message, { cause });
  }
  // LibTorch takes a thread for each core of the machine. Where a container may use the time of fewer, those threads
  // spend it within a fraction of each period, and all of them stand still for the rest.
  const quota = cpuQuota();
  if (process.env['OMP_NUM_THREADS'] === undefined && quota < Infinity) loaded.limitThreads(Math.ceil(quota));
  // LibTorch work that still runs while the process unloads crashes it, and process.exit() skips Node's cleanup hooks
  // on the main thread: 'exit' is what both ways out have in common. Before all other handlers, since one that calls
  // process.exit() itself ends the process on the spot, and those after it are never run.
  if (isMainThread) process.prependOnceListener('exit', () => loaded?.stop());
  return loaded;
}

/** Rejections of the addon as SightlineErrors. */
export async function settled<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw fromNative(error);
  }
}

/** What the addon throws as a SightlineError; whatever else it is passes unchanged. */
export function fromNative(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof SightlineError || !('code' in error)) return error;
  const { code, message, libtorch } = error as Error & { code: ErrorCode; libtorch?: string };
  return new SightlineError(code, code === 'STEP_FAILED' ? withSourcePlaces(message) : message, {
    cause: error,
    ...(libtorch !== undefined && { details: { libtorch } }),
  });
}

/** Lines of compiled methods as lines of their TypeScript: what a reader of the message has in front of them. */
function withSourcePlaces(message: string): string {
  return message.replace(
    /\(((?:file:\/\/)?[^\s()]+):(\d+):(\d+)\)/g,
    (whole, file: string, line: string, column: string) => {
      const path = file.startsWith('file:') ? fileURLToPath(file) : file;
      try {
        const map = new SourceMap(JSON.parse(readFileSync(`${path}.map`, 'utf8')) as SourceMapPayload);
        const entry = map.findEntry(Number(line) - 1, Number(column) - 1);
        if ('originalSource' in entry) {
          const source = fileURLToPath(new URL(entry.originalSource, `file://${path}`));
          return `(${relative(process.cwd(), source)}:${entry.originalLine + 1})`;
        }
      } catch {
        // A method of the user's own, without a source map: its own line is the right one.
      }
      return whole.startsWith('(file:') ? `(${relative(process.cwd(), path)}:${line})` : whole;
    },
  );
}
