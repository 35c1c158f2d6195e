#!/usr/bin/env node
/**
 * The same job in sightline and in Python, in alternation: see README.md.
 *
 *   node bench/peers/run.mjs [--models DIR] [--jobs a,b] [--without a,b] [--table] [--batch 8] [--rounds 5] [--threads
 *   2] [--dtype f32|bf16]
 *                            [--python PATH] [--out DIR] [--json]
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { seededImages } from './inputs.mjs';
import { chooseJobs } from './jobs.mjs';
import { LIMITED_JOBS, judge } from './limits.mjs';
import { measureJob } from './measure.mjs';
import { headText, jobData, jobText, tableText } from './report.mjs';
import { WorkerFailure, WorkerProcess } from './worker-process.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const SIDE = 224;
/** A mistake of whoever called: one sentence, no stack. */
class UsageError extends Error {}

/** @param {string} name @param {string} value */
function count(name, value) {
  if (!/^[1-9]\d{0,3}$/.test(value)) {
    throw new UsageError(`--${name} takes a whole number from 1 to 9999, not "${value}".`);
  }
  return Number(value);
}

function readOptions() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        models: { type: 'string', default: 'bench-models' },
        jobs: { type: 'string' },
        without: { type: 'string' },
        table: { type: 'boolean', default: false },
        batch: { type: 'string', default: '8' },
        rounds: { type: 'string', default: '5' },
        threads: { type: 'string', default: '2' },
        dtype: { type: 'string', default: 'f32' },
        python: { type: 'string', default: 'python3' },
        out: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw new UsageError(/** @type {Error} */ (error).message);
  }
  if (values.dtype !== 'f32' && values.dtype !== 'bf16') {
    throw new UsageError(`--dtype takes f32, or bf16 to run ours in bf16 as well, not "${values.dtype}".`);
  }
  const [batch, rounds, threads] = [
    count('batch', values.batch),
    count('rounds', values.rounds),
    count('threads', values.threads),
  ];
  const names = values.jobs?.split(',') ?? (values.table ? LIMITED_JOBS : null);
  let jobs;
  try {
    jobs = chooseJobs(names);
  } catch (error) {
    throw new UsageError(/** @type {Error} */ (error).message);
  }
  const without = new Set(values.without?.split(','));
  const peerNames = jobs.flatMap(({ peers }) => peers.map(({ name }) => name));
  const unknown = [...without].find((name) => !peerNames.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(
      `--without names "${unknown}", which no chosen job runs; there are ${[...new Set(peerNames)].join(', ')}.`,
    );
  }
  jobs = jobs.map((job) => ({ ...job, peers: job.peers.filter(({ name }) => !without.has(name)) }));
  const models = path.resolve(values.models);
  for (const network of new Set(jobs.flatMap(({ network }) => (network ? [network] : [])))) {
    for (const file of [`${network}.pt`, `${network}.state.pt`]) {
      if (!existsSync(path.join(models, file))) {
        throw new UsageError(
          `${path.join(models, file)} is missing; make it by \`${values.python} bench/peers/make_models.py ${values.models} ${network}\`, or name its folder with --models.`,
        );
      }
    }
  }
  return {
    jobs,
    models,
    table: values.table,
    batch,
    rounds,
    threads,
    // The table's limits name both types.
    withBf16: values.dtype === 'bf16' || values.table,
    python: values.python,
    out: values.out,
    json: values.json,
  };
}

/** Both sides' processes. */
class Workers {
  /** @type {Map<string, { worker: WorkerProcess, hello: any }>} */
  #shared = new Map();
  /** @param {{ python: string, threads: number }} options */
  constructor(options) {
    this.options = options;
  }

  /** @param {'ours' | 'peer'} side @param {boolean} isOwn */
  async get(side, isOwn) {
    const found = this.#shared.get(side);
    if (!isOwn && found && !found.worker.isGone) return found.worker;
    const worker = this.#start(side);
    try {
      const hello = await worker.ask({ do: 'hello', threads: this.options.threads });
      if (!isOwn) this.#shared.set(side, { worker, hello });
    } catch (error) {
      await worker.close();
      throw error;
    }
    return worker;
  }

  /** @param {'ours' | 'peer'} side what its process said of itself */
  async hello(side) {
    await this.get(side, false);
    return this.#shared.get(side)?.hello;
  }

  async close() {
    for (const { worker } of this.#shared.values()) await worker.close();
  }

  /** @param {'ours' | 'peer'} side */
  #start(side) {
    const { python, threads } = this.options;
    // How long GNU OpenMP's threads spin while they wait: on both sides what lib/engine/binding.ts sets on ours, unless
    // the environment says otherwise. Its default starves whoever else wants the cores, and itself with them.
    const env = { OMP_NUM_THREADS: String(threads), GOMP_SPINCOUNT: process.env.GOMP_SPINCOUNT ?? '1000' };
    if (side === 'ours') {
      return new WorkerProcess('sightline worker', process.execPath, [path.join(HERE, 'ours.mjs')], env);
    }
    return new WorkerProcess(
      'Python worker',
      python,
      [path.join(HERE, 'worker.py')],
      env,
      `run \`${python} -m pip install -r bench/peers/requirements.txt\``,
    );
  }
}

async function main() {
  const options = readOptions();
  const { encodeNpy } = await import('../../dist/index.js');
  const loadBefore = os.loadavg();
  const started = new Date();
  const scratch = mkdtempSync(path.join(os.tmpdir(), 'sightline-peers-'));
  process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));
  const workers = new Workers(options);
  try {
    const needsPython = options.jobs.some(({ peers }) => peers.length > 0);
    const ours = await workers.hello('ours');
    const peers = needsPython ? await workers.hello('peer') : null;
    const torch = peers?.versions.torch?.split('+')[0];
    if (torch && torch !== ours.libtorch.split('+')[0]) {
      throw new UsageError(
        `${options.python} has torch ${torch} and sightline runs on LibTorch ${ours.libtorch}; install the same version, since another one's operators are no measure.`,
      );
    }
    const all = seededImages(Math.max(options.batch, 1), SIDE);
    const size = 3 * SIDE * SIDE;
    const imagesOf = (/** @type {number} */ count) => {
      const file = path.join(scratch, `images-${count}.npy`);
      if (!existsSync(file)) {
        writeFileSync(file, encodeNpy({ data: all.data.subarray(0, count * size), shape: [count, 3, SIDE, SIDE] }));
      }
      return file;
    };
    const machine = {
      cpu: os.cpus()[0]?.model ?? '',
      cores: os.cpus().length,
      memoryBytes: os.totalmem(),
      kernel: `${os.type()} ${os.release()}`,
      loadBefore,
    };
    const settings = {
      batch: options.batch,
      rounds: options.rounds,
      threads: options.threads,
      bf16: options.withBf16,
      gompSpinCount: process.env.GOMP_SPINCOUNT ?? '1000',
    };
    const versions = {
      sightline: JSON.parse(readFileSync(path.join(HERE, '../../package.json'), 'utf8')).version,
      ours,
      peers,
    };
    const head = headText({ started: started.toISOString(), machine, settings, versions });
    // With --json stdout is the report's alone.
    const say = options.json ? console.error : console.log;
    say(head);
    const measured = [];
    for (const job of options.jobs) {
      const result = await measureJob(job, {
        ...options,
        scratch,
        imagesOf,
        worker: (side, isOwn) => workers.get(side, isOwn),
      });
      measured.push(result);
      say(`\n${jobText(result)}`);
    }
    const verdicts = options.table ? judge(measured) : null;
    const report = {
      started: started.toISOString(),
      ended: new Date().toISOString(),
      machine: { ...machine, loadAfter: os.loadavg() },
      versions,
      settings,
      jobs: measured.map(jobData),
      limits: verdicts,
    };
    if (verdicts) say(`\n${tableText(verdicts)}`);
    const text = `${JSON.stringify(report, null, 2)}\n`;
    if (options.json) process.stdout.write(text);
    if (options.out !== undefined) {
      mkdirSync(options.out, { recursive: true });
      writeFileSync(path.join(options.out, 'peers.json'), text);
      writeFileSync(
        path.join(options.out, 'peers.txt'),
        `${[head, ...measured.map(jobText), ...(verdicts ? [tableText(verdicts)] : [])].join('\n\n')}\n`,
      );
    }
    const isSound = measured.every(
      ({ contestants, comparisons }) =>
        contestants.every(({ failure }) => failure === null) && comparisons.every(({ agrees }) => agrees),
    );
    return isSound && (verdicts === null || verdicts.every(({ verdict }) => verdict === 'pass')) ? 0 : 1;
  } finally {
    await workers.close();
  }
}

// Leaving by process.exit ends the workers too.
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError || error instanceof WorkerFailure)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
