#!/usr/bin/env node
/**
 * What taps and methods cost, as ratios to the plain forward pass of the same model, measured in turns within one run:
 * first one call of each job, then the next round, so that a slow minute of the machine slows all jobs alike.
 *
 *   node bench/cost.mjs ARCHIVE... [--device cpu|cuda] [--dtype f32] [--batch 8] [--rounds 9] [--methods cam,gae] [--json FILE]
 */
import { writeFileSync } from 'node:fs';
import os from 'node:os';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';

import { METHOD_NAMES, Model, versions } from '../dist/index.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    device: { type: 'string', default: 'cpu' },
    dtype: { type: 'string', default: 'f32' },
    batch: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '9' },
    methods: { type: 'string', default: 'cam,grad-cam,eigen-cam,raw-attention,attention-rollout,gradient-rollout,gae' },
    json: { type: 'string' },
  },
});
const batch = Number(values.batch);
const rounds = Number(values.rounds);

/** @param {number[]} times */
const median = (times) => [...times].sort((a, b) => a - b)[times.length >> 1] ?? NaN;

/** @param {string} path */
async function measure(path) {
  const model = await Model.load(path, { device: /** @type {'cpu'} */ (values.device), dtype: /** @type {'f32'} */ (values.dtype), maxBatch: batch });
  const inspection = await model.inspect();
  const { height, width } = inspection;
  const images = { data: Float32Array.from({ length: batch * 3 * height * width }, (_, i) => Math.sin(i * 0.37)), shape: [batch, 3, height, width] };
  const last = inspection.nodes.at(-1)?.name ?? '';
  /** @type {Record<string, () => Promise<unknown>>} */
  const jobs = { forward: () => model.capture(images, { features: [last] }) };
  // Early stop: a quarter, a half, three quarters of the way.
  for (const share of [0.25, 0.5, 0.75]) {
    const node = inspection.nodes[Math.floor(inspection.nodes.length * share)];
    if (node) jobs[`capture ${node.name}`] = () => model.capture(images, { features: [node.name] });
  }
  if (inspection.attention.length > 0) jobs['capture attention'] = () => model.capture(images, { attention: 'all' });
  for (const method of METHOD_NAMES.filter((name) => values.methods.split(',').includes(name))) {
    if (inspection.methods.find(({ name }) => name === method)?.applies) jobs[method] = () => model.explain(images, { method });
  }
  /** @type {Record<string, number[]>} */
  const times = Object.fromEntries(Object.keys(jobs).map((name) => [name, []]));
  /** @type {Record<string, number>} */
  const operators = {};
  for (let round = -1; round < rounds; round++) {
    for (const [name, job] of Object.entries(jobs)) {
      const start = performance.now();
      const result = await job();
      // The first round warms up: it builds programs.
      if (round >= 0) times[name]?.push(performance.now() - start);
      if (typeof result === 'object' && result !== null && 'operators' in result) operators[name] = Number(result.operators);
    }
  }
  await model.close();
  const base = median(times['forward'] ?? []);
  return {
    model: path,
    operators: inspection.operators,
    jobs: Object.entries(times).map(([name, all]) => ({ name, milliseconds: median(all), ratio: median(all) / base, operators: operators[name] ?? null })),
  };
}

const report = {
  date: new Date().toISOString().slice(0, 10),
  machine: { cpu: os.cpus()[0]?.model, cores: os.cpus().length, load: os.loadavg()[0] },
  versions: { node: process.version, ...versions() },
  device: values.device,
  dtype: values.dtype,
  batch,
  rounds,
  /** @type {Awaited<ReturnType<typeof measure>>[]} */
  models: [],
};
for (const path of positionals.length > 0 ? positionals : ['resnet-tiny-shapes', 'vit-tiny-shapes']) {
  const measured = await measure(path);
  report.models.push(measured);
  console.log(`\n${measured.model}: batch ${batch}, ${values.device}, ${values.dtype}; ${measured.operators} operators`);
  for (const { name, milliseconds, ratio, operators } of measured.jobs) {
    console.log(`  ${name.padEnd(34)} ${milliseconds.toFixed(1).padStart(9)} ms  ${ratio.toFixed(2).padStart(6)} x forward${operators === null ? '' : `  ${operators} operators`}`);
  }
}
if (values.json) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
