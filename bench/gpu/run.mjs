#!/usr/bin/env node
/**
 * `npm run bench:gpu`: what explanations cost on a GPU, against the plain forward pass, PyTorch and Python's packages.
 *
 *   node bench/gpu/run.mjs [--out DIR] [--device cuda:0] [--dtype bf16] [--batch 64] [--rounds 9] [--python python3]
 *
 * Writes bench-gpu.json, the plots of `sightline bench` and page.html. `--device cpu` rehearses without a GPU. Exit
 * codes: 0 when all limits hold, 1 when one does not, 2 for a wrong option, 3 when there is no GPU and nothing was
 * measured.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { bench } from '../../dist/bench/index.js';
import { costPlot, throughputPlot } from '../../dist/bench/plots/plots.js';
import { reportLines } from '../../dist/bench/table.js';
import { versions } from '../../dist/index.js';
import { writeCheckpoint } from './checkpoints.mjs';
import { judge } from './limits.mjs';
import { pageOf } from './page.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const NETWORKS = ['resnet50', 'vit_base_patch16_224'];
const METHODS = ['cam', 'grad-cam', 'attention-rollout', 'gradient-rollout', 'gae'];
const NO_GPU = 3;

function readOptions() {
  const { values } = parseArgs({
    options: {
      out: { type: 'string', default: path.join(ROOT, 'build', 'bench-gpu') },
      device: { type: 'string', default: 'cuda:0' },
      dtype: { type: 'string', default: 'bf16' },
      batch: { type: 'string', default: '64' },
      rounds: { type: 'string', default: '9' },
      python: { type: 'string', default: 'python3' },
    },
  });
  for (const name of /** @type {const} */ (['batch', 'rounds'])) {
    if (!/^[1-9]\d{0,3}$/.test(values[name])) {
      throw new Error(`--${name} takes a whole number from 1 to 9999, not "${values[name]}".`);
    }
  }
  const { dtype } = values;
  if (dtype !== 'f32' && dtype !== 'bf16' && dtype !== 'f16') {
    throw new Error(`--dtype takes f32, bf16 or f16, not "${dtype}".`);
  }
  return { ...values, dtype, batch: Number(values.batch), rounds: Number(values.rounds) };
}

/** PyTorch on the same machine; what could not be asked is told. @param {ReturnType<typeof readOptions>} options */
function measurePython({ python, device, dtype, batch, rounds }) {
  const script = fileURLToPath(new URL('eager.py', import.meta.url));
  const args = ['--device', device, '--dtype', dtype, '--batch', String(batch), '--rounds', String(rounds)];
  const { status, stdout, error } = spawnSync(python, [script, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status === 0) return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  const why = `${python} ended with ${error?.message ?? `exit code ${status}`}`;
  return { torch: null, gpu: null, rows: [], missing: [{ network: 'all', how: 'PyTorch', why }] };
}

async function main() {
  let options;
  try {
    options = readOptions();
  } catch (error) {
    console.error(`bench:gpu: ${/** @type {Error} */ (error).message}`);
    return 2;
  }
  const { out, device, dtype, batch, rounds } = options;
  if (device !== 'cpu' && versions().cudaDevices === 0) {
    console.error(
      'bench:gpu: LibTorch finds no CUDA GPU here, so nothing was measured; `npx sightline doctor` says why.',
    );
    return NO_GPU;
  }
  mkdirSync(out, { recursive: true });
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sightline-bench-gpu-'));
  try {
    const models = NETWORKS.map((name) => writeCheckpoint(name, folder));
    const shared = { models, methods: METHODS, devices: [device], dtypes: [dtype], rounds };
    const onProgress = (/** @type {string} */ line) => console.error(line);
    const report = await bench({ ...shared, batches: [...new Set([1, batch])], onProgress });
    // The same runs at batch 1, launched kernel by kernel.
    process.env['SIGHTLINE_CUDA_GRAPHS'] = '0';
    const withoutGraphs = await bench({ ...shared, batches: [1], onProgress });
    const python = measurePython(options);
    const verdicts = judge({ report, withoutGraphs, python, batch });
    const all = { device, dtype, batch, rounds, verdicts, python, report, withoutGraphs };
    writeFileSync(path.join(out, 'bench-gpu.json'), `${JSON.stringify(all, null, 2)}\n`);
    const plots = { throughput: throughputPlot(report), cost: costPlot(report) };
    for (const [name, svg] of Object.entries(plots)) {
      if (svg !== null) writeFileSync(path.join(out, `${name}.svg`), svg);
    }
    writeFileSync(path.join(out, 'page.html'), pageOf(all, plots));
    for (const line of reportLines(report)) console.log(line);
    for (const { what, limit, found, verdict } of verdicts) {
      console.log(`${verdict.padEnd(12)} ${what}: ${found} (${limit})`);
    }
    console.log(`Written to ${out}: bench-gpu.json, plots, page.html.`);
    return verdicts.some(({ verdict }) => verdict === 'FAIL') ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main();
