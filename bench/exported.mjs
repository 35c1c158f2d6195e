/**
 * What loading a program of torch.export costs, beside the same weights as a checkpoint in sightline's own graph:
 * node --expose-gc bench/exported.mjs FILE.pt2 FILE.safetensors ARCHITECTURE
 *
 * Rounds alternate, and so does which of both comes first; each load is in a process of its own. Processor time is that
 * of the process: on a machine that is shared the time by the clock tells little. The memory is Linux's peak of the
 * resident set (VmHWM) over what was there before.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROUNDS = 9;
const [file, other, architecture, child] = process.argv.slice(2);
if (architecture === undefined) throw new Error('Give a program, a checkpoint, and the architecture of both.');

/** @param {string} key @returns {number} MB */
const status = (key) =>
  (Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024) / 1e6;

if (child !== undefined) {
  const { Model } = await import('../dist/index.js');
  const { defaultCard } = await import('../dist/models/card.js');
  const path = child === 'program' ? file : other;
  // LibTorch itself, and what it sets up for a first model, are no cost of this one.
  await (await Model.load('vit-tiny-shapes', { device: 'cpu' })).close();
  const before = status('VmRSS');
  const begun = performance.now();
  const used = process.cpuUsage();
  const card = { ...defaultCard(path, 224, 224), ...(child === 'checkpoint' && { architecture }) };
  const model = await Model.load(path, { device: 'cpu', card });
  const ms = performance.now() - begun;
  const { user, system } = process.cpuUsage(used);
  await model.predict({ data: new Float32Array(3 * 224 * 224).fill(0.1), shape: [1, 3, 224, 224] });
  process.stdout.write(JSON.stringify({ ms, cpu: (user + system) / 1000, peak: status('VmHWM') - before }));
  process.exit(0);
}

const rounds = { program: [], checkpoint: [] };
for (let round = 0; round < ROUNDS; round++) {
  const forms = Object.keys(rounds);
  for (const form of round % 2 === 0 ? forms : forms.reverse()) {
    const {
      stdout,
      status: code,
      stderr,
    } = spawnSync(process.execPath, ['--expose-gc', fileURLToPath(import.meta.url), file, other, architecture, form], {
      encoding: 'utf8',
    });
    if (code !== 0) throw new Error(stderr);
    rounds[form].push(JSON.parse(stdout));
  }
}
const median = (form, key) => rounds[form].map((each) => each[key]).sort((a, b) => a - b)[Math.floor(ROUNDS / 2)];
console.log(`${file}: ${(statSync(file).size / 1e6).toFixed(0)} MB, medians of ${ROUNDS} rounds`);
for (const [key, unit] of [
  ['ms', 'ms to load'],
  ['cpu', 'ms of processors'],
  ['peak', 'MB at most'],
]) {
  const [program, checkpoint] = [median('program', key), median('checkpoint', key)];
  console.log(
    `${program.toFixed(0)} ${unit}, by checkpoint ${checkpoint.toFixed(0)}: ${(program / checkpoint).toFixed(2)} times`,
  );
}
