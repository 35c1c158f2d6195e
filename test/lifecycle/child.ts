import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { expect } from 'vitest';

import { Watch } from '../support/progress.mjs';

const DIST = fileURLToPath(new URL('../../dist/index.js', import.meta.url));

/** How a child process ended, and how far it had come. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What the child said with `stage(...)`, in order. */
  readonly stages: readonly string[];
  /** What the child said with `report(...)`. */
  readonly reports: readonly unknown[];
  readonly stderr: string;
  /** The stage in which it hung, when it had to be killed. */
  readonly hungIn: string | null;
  readonly milliseconds: number;
}

export interface ChildOptions {
  readonly args?: readonly string[];
  /** Options of node itself, such as --expose-gc. */
  readonly node?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Sent once the child has reached the stage. */
  readonly kill?: { readonly at: string; readonly signal: NodeJS.Signals };
}

/**
 * Runs one of test/lifecycle/children (or another folder's) as a process of its own, against the built package: how a
 * process ends cannot be seen from inside.
 */
export async function runChild(script: URL, options: ChildOptions = {}): Promise<Ending> {
  if (!existsSync(DIST)) throw new Error(`${DIST} is missing: run npm run build before these tests.`);
  const started = performance.now();
  const child = spawn(process.execPath, [...(options.node ?? []), fileURLToPath(script), ...(options.args ?? [])], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Vitest's own settings of node (loaders, execArgv) are no business of the child.
    env: { ...process.env, NODE_OPTIONS: '', ...options.env },
  });
  const stages: string[] = [];
  const reports: unknown[] = [];
  let stderr = '';
  let rest = '';
  let hungIn: string | null = null;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith('@stage ')) stages.push(line.slice(7));
      else if (line.startsWith('@report ')) reports.push(JSON.parse(line.slice(8)));
      if (options.kill && line === `@stage ${options.kill.at}`) child.kill(options.kill.signal);
    }
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  // By what it says and computes, not by a clock: it may be one of many on a busy machine.
  const watch = new Watch(
    () => `${stages.length} ${reports.length} ${stderr.length}`,
    () => processorMs(child.pid),
  );
  const timer = setInterval(() => {
    if (!watch.isStuck()) return;
    hungIn = stages.at(-1) ?? 'start';
    child.kill('SIGKILL');
  }, 500);
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (...ending) => resolve(ending));
  });
  clearInterval(timer);
  return { code, signal, stages, reports, stderr, hungIn, milliseconds: performance.now() - started };
}

/** Processor time of a process; 0 where the system does not tell, or it has ended. */
function processorMs(pid: number | undefined): number {
  try {
    // Behind the name in brackets, which may hold anything: the 12th and 13th are ticks of 10 ms, in user and in system
    // mode.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12]));
  } catch {
    return 0;
  }
}

/** Fails with everything that is known when the child ended in another way, in particular when it crashed or hung. */
export function expectEnding(ending: Ending, expected: { code?: number; stages?: readonly string[] } = {}): void {
  const story = `stages: ${ending.stages.join(' > ') || 'none'}\nstderr:\n${ending.stderr.slice(-4000)}`;
  expect(ending.hungIn, `the child hung; ${story}`).toBeNull();
  expect({ code: ending.code, signal: ending.signal }, story).toEqual({ code: expected.code ?? 0, signal: null });
  if (expected.stages) expect(ending.stages, story).toEqual(expected.stages);
}
