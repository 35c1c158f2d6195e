/** One job: loads its contestants, runs them in alternation, and asks both sides for their answers. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { seededTargets } from './inputs.mjs';
import { alternate } from './rounds.mjs';
import { compareAnswers, ratio } from './statistics.mjs';
import { WorkerFailure } from './worker-process.mjs';

/**
 * @typedef {import('./worker-process.mjs').WorkerProcess} Worker
 * @typedef {import('./jobs.mjs').Job} Job
 * @typedef {'ours' | 'peer'} Side
 * @typedef {object} Plan
 * @property {string} models folder of the archives
 * @property {number} batch
 * @property {number} rounds
 * @property {boolean} withBf16
 * @property {string} scratch folder for inputs and answers
 * @property {(count: number) => string} imagesOf path of the .npy with so many images
 * @property {(side: Side, isOwn: boolean) => Promise<Worker>} worker the side's shared process, or one of its own that
 * the caller closes
 *
 * @typedef {{ peer: string } & ReturnType<typeof compareAnswers>} Comparison
 * @typedef {object} JobResult
 * @property {string} name
 * @property {Job['network']} network
 * @property {number} images
 * @property {import('./rounds.mjs').Measured[]} contestants
 * @property {Comparison[]} comparisons
 * @property {(of: string, to: string, quantity: 'time' | 'memory') => { median: number, low: number, high: number } |
 * null} ratioOf
 */

/** @param {Job} job @param {Plan} plan @returns {Promise<JobResult>} */
export async function measureJob(job, plan) {
  const images = job.images === 'batch' ? plan.batch : job.images;
  const archive = job.network === null ? null : path.join(plan.models, `${job.network}.pt`);
  const file = job.network === null ? null : plan.imagesOf(images);
  const targets = seededTargets(images, 'targets' in job.ours ? (job.ours.targets ?? 1) : 1, 1000);
  const ours = (/** @type {string} */ name, /** @type {object} */ call, dtype = 'f32') => ({
    name,
    side: /** @type {Side} */ ('ours'),
    load: { archive, dtype, call, images: file, targets },
  });
  const theirs = (/** @type {import('./jobs.mjs').Peer} */ { name, options }) => ({
    name,
    side: /** @type {Side} */ ('peer'),
    load: {
      peer: name,
      options,
      network: job.network,
      models: plan.models,
      images: file,
      targets: targets.map((each) => each[0]),
    },
  });
  const entries = [
    ...(job.base ? [ours('base', job.base)] : []),
    ours('ours', job.ours),
    // Files and ready tensors are the same engine's work in whatever type.
    ...(plan.withBf16 && job.network !== null ? [ours('ours-bf16', job.ours, 'bf16')] : []),
    ...job.peers.map(theirs),
  ];

  /** @type {Map<string, { worker: Worker, slot: string }>} */
  const places = new Map();
  /** @type {Map<string, string>} */
  const failures = new Map();
  for (const { name, side, load } of entries) {
    const slot = `${job.name}/${name}`;
    try {
      const worker = await plan.worker(side, job.isolated === true);
      places.set(name, { worker, slot });
      await worker.ask({ do: 'load', slot, ...load });
      await worker.ask({ do: 'warm', slot, isLong: job.isLong === true || job.isolated === true });
    } catch (error) {
      failures.set(name, sentenceOf(error));
    }
  }
  try {
    const sound = entries.filter(({ name }) => !failures.has(name));
    const measured = await alternate(
      sound.map(({ name }) => {
        const { worker, slot } = /** @type {{ worker: Worker, slot: string }} */ (places.get(name));
        return { name, run: () => worker.ask({ do: 'run', slot, memory: job.isolated === true }) };
      }),
      job.isLong ? Math.min(2, plan.rounds) : plan.rounds,
    );
    const contestants = entries.map(
      ({ name }) =>
        measured.find((found) => found.name === name) ?? {
          name,
          seconds: [],
          growth: null,
          idleShare: 0,
          failure: failures.get(name) ?? '',
        },
    );
    return {
      name: job.name,
      network: job.network,
      images,
      contestants,
      comparisons: await compareAll(job, plan, places, contestants),
      ratioOf: ratioOf(contestants),
    };
  } finally {
    for (const { worker, slot } of places.values()) {
      if (job.isolated) await worker.close();
      else if (!worker.isGone) await worker.ask({ do: 'unload', slot }).catch(ignoreFailure);
    }
  }
}

/** @param {readonly import('./rounds.mjs').Measured[]} contestants @returns {JobResult['ratioOf']} */
export function ratioOf(contestants) {
  return (of, to, quantity) => {
    const [a, b] = [of, to].map((name) => contestants.find((found) => found.name === name && found.failure === null));
    if (!a || !b) return null;
    if (quantity === 'time') return ratio(a.seconds, b.seconds);
    return a.growth === null || b.growth === null || b.growth === 0 ? null : ratio([a.growth], [b.growth]);
  };
}

/**
 * @param {Job} job
 * @param {Plan} plan
 * @param {Map<string, { worker: Worker, slot: string }>} places
 * @param {readonly import('./rounds.mjs').Measured[]} contestants
 */
async function compareAll(job, plan, places, contestants) {
  // Imported late, so that a wrong option is told without a build.
  const { decodeNpy } = await import('../../dist/index.js');
  /** @type {Comparison[]} */
  const comparisons = [];
  const answerOf = async (/** @type {string} */ name, /** @type {Record<string, unknown>} */ options = {}) => {
    const { worker, slot } = /** @type {{ worker: Worker, slot: string }} */ (places.get(name));
    const file = path.join(plan.scratch, 'answer.npy');
    await worker.ask({ do: 'answer', slot, path: file, options });
    const { data, shape } = decodeNpy(readFileSync(file), file);
    return { data: /** @type {Float32Array} */ (data), shape };
  };
  const isSound = (/** @type {string} */ name) =>
    contestants.some((found) => found.name === name && found.failure === null);
  const compare = async (
    /** @type {string} */ name,
    /** @type {import('./statistics.mjs').Agreement} */ agrees,
    /** @type {Record<string, unknown>} */ options = {},
  ) => {
    if (!isSound('ours') || !isSound(name)) return;
    try {
      comparisons.push({
        peer: name,
        ...compareAnswers(await answerOf('ours', options), await answerOf(name), agrees),
      });
    } catch (error) {
      comparisons.push({
        peer: name,
        figure: 'rank correlation',
        value: NaN,
        limit: null,
        agrees: false,
        note: sentenceOf(error),
      });
    }
  };
  for (const { name, answer, agrees } of job.peers) await compare(name, agrees, answer);
  await compare('ours-bf16', { told: 'the same call in bf16' });
  return comparisons;
}

/** @param {unknown} error */
function sentenceOf(error) {
  if (error instanceof WorkerFailure) return error.message;
  throw error;
}

/** A worker that fails to forget a job is not what is measured. @param {unknown} error */
function ignoreFailure(error) {
  if (!(error instanceof WorkerFailure)) throw error;
}
