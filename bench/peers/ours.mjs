/**
 * Our side of bench/peers/run.mjs: the package's public functions behind the protocol that worker.py describes, in a
 * process of its own, so that both sides are measured alike.
 */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { Model, decodeNpy, encodeNpy, versions } from '../../dist/index.js';
import { seededImages } from './inputs.mjs';
import { growthSince, residentBefore } from './memory.mjs';

// Whatever prints must not come between the answers.
console.log = console.error;
const scratch = mkdtempSync(path.join(os.tmpdir(), 'sightline-peers-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

/**
 * @typedef {{ shape: number[], data: Float32Array }} Answer
 * @typedef {{ run: () => Promise<unknown>, answer: (result: any, options: object) => Promise<Answer>, warm: () =>
 * Promise<unknown>, modelKey: string }} Job
 */
/** @type {Map<string, Job>} */
const jobs = new Map();
/** @type {Map<string, unknown>} */
const results = new Map();
/** @type {Map<string, { model: Promise<Model>, users: number }>} */
const models = new Map();
let threads = 0;

const cpuSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
let lastAnswer = { at: performance.now(), cpu: cpuSeconds() };

/** @param {string} nameOrPath @param {string} dtype @param {number} maxBatch */
async function modelOf(nameOrPath, dtype, maxBatch) {
  const key = JSON.stringify([nameOrPath, dtype, maxBatch]);
  const found = models.get(key) ?? {
    model: Model.load(nameOrPath, { device: 'cpu', dtype: /** @type {'f32'} */ (dtype), threads, maxBatch }),
    users: 0,
  };
  models.set(key, found);
  found.users++;
  try {
    return { model: await found.model, key };
  } catch (error) {
    models.delete(key);
    throw error;
  }
}

/** @param {Model} model @param {{ data: Float32Array, shape: readonly number[] }} images */
async function logitsOf(model, images) {
  const { nodes } = await model.inspect();
  const last = nodes.at(-1)?.name ?? '';
  const { features } = await model.capture(images, { features: [last] });
  return features[last];
}

/**
 * The plain forward pass; a build without `predict` captures the last node instead.
 * @param {Model & { predict?: (images: any) => Promise<unknown> }} model
 * @param {any} images
 */
const forward = (model, images) =>
  typeof model.predict === 'function' ? model.predict(images) : logitsOf(model, images);

/** @param {any[]} explanations @returns {Answer} the first map of each image */
function firstMaps(explanations) {
  const maps = explanations.map(({ maps }) => maps[0]);
  const [height, width] = maps[0].shape;
  const data = new Float32Array(maps.length * height * width);
  maps.forEach((map, i) => data.set(map.data, i * height * width));
  return { data, shape: [maps.length, height, width] };
}

/** @param {any} request */
async function load({ slot, archive, dtype, call, images: file, targets }) {
  if ('files' in call || 'tensors' in call) {
    const { model, key } = await modelOf(call.files ?? call.tensors, dtype, 8);
    jobs.set(slot, {
      ...('files' in call ? await filesJob(model, call.method) : tensorsJob(model, call.method)),
      modelKey: key,
    });
    return {};
  }
  const images = /** @type {Answer} */ (decodeNpy(readFileSync(file), file));
  const { model, key } = await modelOf(archive, dtype, images.shape[0]);
  const warm = () => forward(model, images);
  if ('forward' in call) {
    jobs.set(slot, { run: warm, warm, answer: () => logitsOf(model, images), modelKey: key });
    return {};
  }
  const options = { size: 'grid', ...call.options, method: call.method, targets };
  const run = (extra = {}) => model.explain(images, { ...options, ...extra });
  jobs.set(slot, {
    run: () => run(),
    warm,
    answer: async (result, extra) => firstMaps(Object.keys(extra).length > 0 ? await run(extra) : result),
    modelKey: key,
  });
  return {};
}

/** Paths in, painted files out, 64 requests at once. @param {Model} model @param {string} method */
async function filesJob(model, method) {
  const folder = fileURLToPath(new URL('../../models/eval/', import.meta.url));
  const pictures = readdirSync(folder)
    .filter((name) => /^\d+\.png$/.test(name))
    .sort();
  const each = async (/** @type {unknown} */ _, /** @type {number} */ i) => {
    const [explanation] = await model.explain(path.join(folder, pictures[i % pictures.length]), {
      method: /** @type {'gae'} */ (method),
    });
    await explanation.maps[0].overlay().toFile(path.join(scratch, `${i}.png`));
    return explanation;
  };
  const run = () => Promise.all(Array.from({ length: 64 }, each));
  return { run, warm: run, answer: async (/** @type {any[]} */ result) => firstMaps(result) };
}

/**
 * The same work for the engine, without files: finished tensors in, maps out.
 * @param {Model} model
 * @param {string} method
 */
function tensorsJob(model, method) {
  const { height } = model.card.input;
  const all = seededImages(64, height);
  const size = all.data.length / 64;
  const tensors = Array.from({ length: 64 }, (_, i) => ({
    data: all.data.subarray(i * size, (i + 1) * size),
    shape: [1, 3, height, height],
  }));
  const run = async () =>
    (
      await Promise.all(tensors.map((tensor) => model.explain(tensor, { method: /** @type {'gae'} */ (method) })))
    ).flat();
  return { run, warm: run, answer: async (/** @type {any[]} */ result) => firstMaps(result) };
}

/** @param {string} slot */
function jobOf(slot) {
  const job = jobs.get(slot);
  if (!job) throw new Error(`nothing is loaded as ${slot}`);
  return job;
}

/** @type {Record<string, (request: any) => Promise<object>>} */
const COMMANDS = {
  async hello(request) {
    threads = request.threads;
    return { node: process.version, ...versions() };
  },
  load,
  async warm({ slot, isLong }) {
    const job = jobOf(slot);
    await (isLong ? job.warm() : job.run());
    return {};
  },
  async run({ slot, memory }) {
    const job = jobOf(slot);
    const idle = { idleCpu: cpuSeconds() - lastAnswer.cpu, idleSeconds: (performance.now() - lastAnswer.at) / 1000 };
    results.delete(slot);
    const before = memory ? residentBefore() : null;
    const start = performance.now();
    const result = await job.run();
    const seconds = (performance.now() - start) / 1000;
    const growth = memory ? growthSince(before) : null;
    results.set(slot, result);
    return { seconds, growth, ...idle };
  },
  async answer({ slot, path: file, options }) {
    writeFileSync(file, encodeNpy(await jobOf(slot).answer(results.get(slot), options ?? {})));
    return {};
  },
  async unload({ slot }) {
    const job = jobs.get(slot);
    jobs.delete(slot);
    results.delete(slot);
    const entry = job && models.get(job.modelKey);
    if (job && entry && --entry.users === 0) {
      models.delete(job.modelKey);
      await (await entry.model).close();
    }
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  /** @type {Record<string, unknown>} */
  const reply = { id: request.id };
  try {
    const command = COMMANDS[request.do];
    if (!command) throw new Error(`it does not know the request ${request.do}`);
    reply.ok = await command(request);
  } catch (error) {
    reply.error = { kind: 'failure', message: error instanceof Error ? error.message : String(error) };
  }
  lastAnswer = { at: performance.now(), cpu: cpuSeconds() };
  writeSync(1, `${JSON.stringify(reply)}\n`);
}
