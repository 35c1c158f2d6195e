import { Command } from 'commander';

import type * as Environment from '../../scripts/environment.mjs';
import { binding } from '../engine/binding.js';
import type { NativeVersions } from '../engine/native-types.js';
import { findLibTorch, SUPPORTED, type LibTorch, type Refusal } from '../setup/libtorch.mjs';
import { withJsonFlag } from './options.js';
import { importScript } from './scripts.js';
import type { Session } from './session.js';
import { aligned } from './words.js';

type Finding = Environment.Finding;

export function doctorCommand(session: Session): Command {
  return withJsonFlag(new Command('doctor'))
    .description(
      'Look whether sightline can work here: what was found, and what to do about each problem. Ends with exit code 1 if it cannot.',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ sightline doctor
  $ sightline doctor --json`,
    )
    .action(() => doctor(session));
}

async function doctor(session: Session): Promise<void> {
  const engine = loadEngine();
  const search = searchLibTorch(engine.versions !== null);
  const { describeEnvironment } = await importScript<typeof Environment>('environment.mjs');
  const findings = [...describeEnvironment({ libtorch: search.found }), search.finding, ...engine.findings];
  const usable = findings.every(({ state }) => state !== 'problem');

  session.answer({ usable, findings, libtorch: search.found, tried: search.tried, engine: engine.versions });
  const marks = { ok: 'ok', warning: 'note', problem: 'BAD' };
  const lines = aligned(
    findings.map(({ state, name, value }) => [marks[state], name, value]),
    '',
  );
  findings.forEach(({ remedy }, i) => {
    session.print(lines[i]!);
    if (remedy !== undefined) session.print(`      ${remedy}`);
    if (findings[i] !== search.finding) return;
    for (const { place, why } of search.tried) session.print(`      not taken: ${place} (${why})`);
  });
  session.print(usable ? 'sightline can work here.' : 'sightline cannot work here; repair what is marked BAD.');
  if (!usable) process.exitCode = 1;
}

/** What the addon itself says, once LibTorch is loaded. */
function loadEngine(): { versions: NativeVersions | null; findings: Finding[] } {
  try {
    const versions = binding().versions();
    const { libtorch, cpuCapability, threads, cudaDevices } = versions;
    return {
      versions,
      findings: [
        {
          name: 'engine',
          value: `LibTorch ${libtorch}, kernels for ${cpuCapability}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
          state: 'ok',
        },
        {
          name: 'CUDA',
          value:
            cudaDevices === 0
              ? 'no device that the engine can use; it runs on the CPU'
              : `${cudaDevices} ${cudaDevices === 1 ? 'device' : 'devices'}`,
          state: 'ok',
        },
      ],
    };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return {
      versions: null,
      findings: [{ name: 'engine', value: 'it does not load', state: 'problem', remedy: message }],
    };
  }
}

interface LibTorchFound {
  readonly found: LibTorch | null;
  readonly tried: readonly Refusal[];
  readonly finding: Finding;
}

/**
 * The LibTorch that a build would take. An addon that loads has its own, so that a search without success is no problem
 * then.
 */
function searchLibTorch(isLoaded: boolean): LibTorchFound {
  const state = isLoaded ? 'warning' : 'problem';
  try {
    const { found, tried } = findLibTorch();
    if (found !== null) {
      const value = `${found.version} in ${found.root}, taken because ${found.why}`;
      return { found, tried, finding: { name: 'LibTorch', value, state: 'ok' } };
    }
    const remedy = `Run npx sightline setup, which fetches one, or set LIBTORCH to a LibTorch of ${SUPPORTED.first} to ${SUPPORTED.last}.`;
    return { found, tried, finding: { name: 'LibTorch', value: 'none found', state, remedy } };
  } catch (error) {
    return {
      found: null,
      tried: [],
      finding: { name: 'LibTorch', value: 'none found', state, remedy: (error as Error).message },
    };
  }
}
