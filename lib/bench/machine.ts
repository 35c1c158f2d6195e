import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** The machine, as far as the system tells. */
export interface Machine {
  readonly cpu: string | null;
  /** Cores that this process may use. */
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly kernel: string;
  readonly architecture: string;
}

/** The state of the sources that were measured, where they are a checkout. */
export interface Commit {
  readonly hash: string;
  /** Whether tracked files differ from it. */
  readonly modified: boolean;
}

const PACKAGE = fileURLToPath(new URL('../..', import.meta.url));

export function describeMachine(): Machine {
  return {
    cpu: os.cpus()[0]?.model.trim() || null,
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    system: os.type(),
    kernel: os.release(),
    architecture: os.arch(),
  };
}

/** Mean number of runnable processes over the last minute. */
export function load(): number {
  return os.loadavg()[0]!;
}

export function packageVersion(): string {
  return (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string })
    .version;
}

/** Null where the package is no checkout of its own, as below another project's node_modules. */
export async function commitOf(folder: string = PACKAGE): Promise<Commit | null> {
  const git = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)('git', ['-C', folder, ...args], { timeout: 20_000 })).stdout.trim();
  try {
    if ((await realpath(await git('rev-parse', '--show-toplevel'))) !== (await realpath(folder))) return null;
    return {
      hash: await git('rev-parse', 'HEAD'),
      modified: (await git('status', '--porcelain', '--untracked-files=no')) !== '',
    };
  } catch {
    return null;
  }
}
