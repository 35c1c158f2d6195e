#!/usr/bin/env node
/**
 * What metrics cost beside those of Python's packages, and beside the runs of the model that they are made of.
 *
 *   npm run build && node bench/metrics.mjs [--python PATH] [--images 64] [--rounds 3] [--jobs a,b] [--write]
 *
 * Python needs bench/peers/requirements.txt. All sides judge the same map, the sum of the image's channels, on the same
 * pixels and weights, with as many threads. They run in alternation, and ratios are of each round; processor time is
 * that of the process. `--write` puts the table into docs/measured.md.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { decodeNpy, defineMethod, encodeNpy, Model, symbolic, versions, z } from '../dist/index.js';
import { writeCheckpoint } from './gpu/checkpoints.mjs';
import { seededImages, seededTargets } from './peers/inputs.mjs';
import { median, ratio } from './peers/statistics.mjs';
import { WorkerProcess } from './peers/worker-process.mjs';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const PAGE = path.join(ROOT, 'docs/measured.md');
const [BEGIN, END] = ['<!-- metrics: node bench/metrics.mjs -->', '<!-- end -->'];
const SIDE = 224;
const THREADS = os.availableParallelism();

const { values } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    images: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '3' },
    jobs: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const [images, rounds] = [Number(values.images), Number(values.rounds)];

const channelSum = defineMethod({
  name: 'channel-sum',
  options: z.strictObject({}),
  usesLayer: false,
  isClassSpecific: false,
  reasonAgainst: () => null,
  map: ({ model }) => symbolic.sum(model.image, 'channels'),
});

/**
 * @typedef {{ seconds: number, cpu: number }} Cost
 * @typedef {{ data: Float32Array, shape: readonly number[] }} Pixels
 */

/** @param {() => Promise<unknown>} work @returns {Promise<Cost>} */
async function timed(work) {
  const [begun, used] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(used);
  return { seconds: (performance.now() - begun) / 1000, cpu: (user + system) / 1e6 };
}

/** @param {Model} model @param {Pixels} pixels @param {number[][]} targets @param {readonly object[]} metrics */
const evaluate = (model, pixels, targets, metrics) =>
  model.evaluate(/** @type {any} */ (pixels), {
    methods: [{ method: channelSum }],
    metrics: /** @type {any} */ (metrics),
    targets,
  });

/** Python's answers come from one process, which sleeps while ours works. */
class Python {
  /** @param {string} scratch */
  constructor(scratch) {
    this.scratch = scratch;
    const env = { OMP_NUM_THREADS: String(THREADS), GOMP_SPINCOUNT: process.env.GOMP_SPINCOUNT ?? '1000' };
    const script = path.join(ROOT, 'bench/peers/worker.py');
    const advice = `run \`${values.python} -m pip install -r bench/peers/requirements.txt\``;
    this.worker = new WorkerProcess('Python worker', values.python, [script], env, advice);
  }

  /**
   * @param {string} peer @param {string} network @param {Pixels} pixels @param {number[]} targets
   * @param {object} [options]
   */
  async load(peer, network, pixels, targets, options = {}) {
    const file = path.join(this.scratch, 'images.npy');
    writeFileSync(file, encodeNpy(/** @type {any} */ (pixels)));
    await this.worker.ask({
      do: 'load',
      slot: peer,
      peer,
      network,
      models: path.join(ROOT, 'models'),
      images: file,
      targets,
      options,
    });
  }

  /** @param {string} slot @returns {Promise<Cost & { answer: number[] }>} */
  async run(slot) {
    const file = path.join(this.scratch, 'answer.npy');
    const cost = await this.worker.ask({ do: 'run', slot });
    await this.worker.ask({ do: 'answer', slot, path: file });
    return { ...cost, answer: [.../** @type {Float32Array} */ (decodeNpy(readFileSync(file), file).data)] };
  }
}

/**
 * @typedef {{ name: string, ours: () => Promise<Cost>, other: () => Promise<Cost>, least?: number, most?: number }} Job
 * `least`: what the other's time over ours must reach; `most`: what ours over the other's may reach
 */

/**
 * Deletion and insertion of torch-cam's 20 steps.
 *
 * @param {Python} python @param {string} network @param {Pixels} pixels
 */
async function torchCam(python, network, pixels) {
  const model = await Model.load(network, { device: 'cpu', threads: THREADS });
  const classes = model.labels.length;
  const targets = seededTargets(pixels.shape[0], 1, classes);
  const slot = 'torch-cam-metrics/deletion-insertion';
  await python.load(slot, network, pixels, targets.flat());
  const metrics = ['deletion', 'insertion'].map((metric) => ({ metric, compat: 'torch-cam' }));
  const judged = await evaluate(model, pixels, targets, metrics);
  const { answer } = await python.run(slot);
  for (const [i, { mean, metric }] of judged.summary().entries()) {
    if (Math.abs(mean - answer[i]) > 1e-4) {
      throw new Error(`${network}: our ${metric} is ${mean}, torch-cam's ${answer[i]}; no measure of the same job.`);
    }
  }
  /** @type {Job} */
  const job = {
    name: `\`deletion\` and \`insertion\`, 20 steps, ${pixels.shape[0]} images, ${network}, over torch-cam's`,
    ours: () => timed(() => evaluate(model, pixels, targets, metrics)),
    other: () => python.run(slot),
    least: 2,
  };
  return { job, close: () => model.close() };
}

/**
 * Quantus' pixel flipping takes so many steps that it is stopped after a few, which are scaled to all.
 *
 * @param {Python} python @param {Pixels} pixels @param {number} features values in a step of Quantus
 * @param {object[]} metrics @param {string} name @param {number} [least]
 */
async function quantus(python, pixels, features, metrics, name, least) {
  const network = 'vit-tiny-shapes';
  const model = await Model.load(network, { device: 'cpu', threads: THREADS });
  const targets = seededTargets(pixels.shape[0], 1, model.labels.length);
  const slot = 'quantus/pixel-flipping';
  await python.load(slot, network, pixels, targets.flat(), { features, most: 9 });
  /** @type {Job} */
  const job = {
    name: `${name}, ${pixels.shape[0]} images, ${network}`,
    ours: () => timed(() => evaluate(model, pixels, targets, metrics)),
    other: async () => {
      const { answer } = await python.run(slot);
      const [seconds, cpu, steps] = answer;
      return { seconds: seconds * steps, cpu: cpu * steps };
    },
    least,
  };
  await evaluate(model, pixels, targets, metrics);
  await job.other();
  return { job, close: () => model.close() };
}

/** A loop of a metric over the runs that it is made of. @param {string} scratch */
async function loop(scratch) {
  const model = await Model.load(writeCheckpoint('resnet50', scratch), { device: 'cpu', threads: THREADS });
  const one = seededImages(1, SIDE);
  const hundred = seededImages(100, SIDE);
  const metrics = [{ metric: 'pixel-flipping', steps: 100 }];
  await evaluate(model, one, [[1]], metrics);
  /** @type {Job} */
  const job = {
    name: '`pixel-flipping`, 100 steps, one image, ResNet50, over 100 images through our forward pass',
    ours: () => timed(() => evaluate(model, one, [[1]], metrics)),
    other: () => timed(() => model.predict(/** @type {any} */ (hundred))),
    most: 1.1,
  };
  return { job, close: () => model.close() };
}

/** What the model sees of the bundled photos. @returns {Promise<Pixels>} */
async function photos() {
  const folder = path.join(ROOT, 'models/demo/photos');
  /** @type {{ file: string }[]} */
  const index = JSON.parse(readFileSync(path.join(folder, 'index.json'), 'utf8'));
  const model = await Model.load('efficientnet-lite0', { device: 'cpu' });
  const { input } = await model.capture(
    index.map(({ file }) => path.join(folder, file)),
    { input: true },
  );
  await model.close();
  return /** @type {Pixels} */ (input);
}

const number = (/** @type {number} */ value) =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2);

/** @param {Job} job @returns {Promise<string>} a row of the table */
async function measure({ name, ours, other, least, most }) {
  /** @type {Cost[]} */
  const [own, others] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const first = round % 2 === 0;
    if (first) own.push(await ours());
    others.push(await other());
    if (!first) own.push(await ours());
  }
  const [times, processors] = /** @type {const} */ (['seconds', 'cpu']).map((of) => {
    const [a, b] = [own, others].map((costs) => costs.map((cost) => cost[of]));
    return most === undefined ? ratio(b, a) : ratio(a, b);
  });
  const spread = ({ median, low, high }) => `${number(median)} (${number(low)} to ${number(high)})`;
  const seconds = (/** @type {Cost[]} */ costs) => `${number(median(costs.map(({ cpu }) => cpu)))}`;
  const asked = least !== undefined ? `at least ${least}` : most !== undefined ? `at most ${most}` : '';
  return `| ${name} | ${seconds(own)} | ${seconds(others)} | ${spread(times)} | ${spread(processors)} | ${asked} |`;
}

const scratch = mkdtempSync(path.join(os.tmpdir(), 'sightline-metrics-'));
const python = new Python(scratch);
try {
  const hello = await python.worker.ask({ do: 'hello', threads: THREADS, niceness: 5 });
  const many = seededImages(images, SIDE);
  const DEFAULT = { metric: 'pixel-flipping' };
  // 1,568 of 150,528 values are 96 steps; Quantus takes only divisors of the number of pixels.
  const EQUAL = { metric: 'pixel-flipping', steps: 96, score: 'probability' };
  const JOBS = {
    'torch-cam-vit': () => torchCam(python, 'vit-tiny-shapes', many),
    'torch-cam-photos': async () => torchCam(python, 'efficientnet-lite0', await photos()),
    'quantus-deletion': () =>
      quantus(
        python,
        many,
        1,
        [{ metric: 'deletion' }],
        "`deletion` of 224 steps over Quantus' pixel flipping, both by default",
        10,
      ),
    'quantus-flipping': () =>
      quantus(python, many, 1, [DEFAULT], "`pixel-flipping` over Quantus', both by default", 10),
    'quantus-equal': () => quantus(python, many, 1568, [EQUAL], 'the same, both in 96 steps'),
    loop: () => loop(scratch),
  };
  const names = values.jobs?.split(',') ?? Object.keys(JOBS);
  const rows = [];
  for (const name of names) {
    const { job, close } = await JOBS[name]();
    rows.push(await measure(job));
    console.error(rows.at(-1));
    await close();
  }
  const { torch, torchcam, quantus: quantusVersion } = hello.versions;
  const text = [
    `${new Date().toISOString().slice(0, 10)}, ${os.cpus()[0]?.model ?? 'a processor'}, ${THREADS} threads; LibTorch ${versions().libtorch}, torch ${torch}, torch-cam ${torchcam}, Quantus ${quantusVersion}.`,
    `Medians of ${rounds} rounds in alternation, with the lowest and the highest.`,
    '',
    '| | ours, processor s | other, processor s | by the clock | by processor time | mark |',
    '|---|---:|---:|---:|---:|---|',
    ...rows,
  ].join('\n');
  console.log(text);
  if (values.write) {
    const page = readFileSync(PAGE, 'utf8');
    const [start, end] = [page.indexOf(BEGIN) + BEGIN.length, page.indexOf(END, page.indexOf(BEGIN))];
    if (start < BEGIN.length || end < 0) throw new Error(`${PAGE} has no ${BEGIN}.`);
    writeFileSync(PAGE, `${page.slice(0, start)}\n\n${text}\n\n${page.slice(end)}`);
  }
} finally {
  await python.worker.close();
  rmSync(scratch, { recursive: true, force: true });
}
