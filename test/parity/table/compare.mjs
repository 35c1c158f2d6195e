/**
 * Runs sightline on the archives and inputs of make.py, compares with the peers' maps, and rewrites docs/parity.md.
 *
 * Usage: nice -n 10 node test/parity/table/compare.mjs SCRATCH [--models NAME,...] [--again REGEX] [--render]
 *
 * Needs dist/ and the native engine. Results are kept in SCRATCH/MODEL/results.json, so that a later run computes only
 * what is new; --again computes again the keys that match; --render computes nothing.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { decodeNpy, Model } from '../../../dist/index.js';
import { difference, sampled, unit } from './differences.mjs';
import { render } from './page.mjs';
import { part, readTensors } from './safetensors.mjs';

export const MODELS = [
  'resnet50',
  'vit_base_patch16_224',
  'deit_tiny_patch16_224',
  'swin_tiny_patch4_window7_224',
  'resnet-tiny-shapes',
  'vit-tiny-shapes',
];
const SHIPPED = /-shapes$/;
const SIDE = 224;
const AS_IT_IS = {
  name: 'plain',
  input: {
    width: SIDE,
    height: SIDE,
    mean: [0, 0, 0],
    std: [1, 1, 1],
    resize: { mode: 'exact', size: [SIDE, SIDE] },
    interpolation: 'bilinear',
    crop: 'none',
  },
};

/**
 * `PEER {options}` to its parts. `every` is no option: the peer's map has every so-manieth row and column, already in
 * [0, 1].
 */
function parseKey(key) {
  const at = key.indexOf(' {');
  const { every = 1, ...options } = JSON.parse(key.slice(at + 1));
  return { peer: key.slice(0, at), every, options };
}

function inputs(folder) {
  const { data, shape } = decodeNpy(readFileSync(path.join(folder, 'input.npy')));
  const size = data.length / shape[0];
  return Array.from({ length: shape[0] }, (_, i) => ({
    data: data.slice(i * size, (i + 1) * size),
    shape: [1, ...shape.slice(1)],
  }));
}

/** A peer's map beside ours, both in [0, 1]. */
function compareMap(map, expected, every) {
  if (every === 1) return difference(unit(map.data), unit(expected.data));
  return difference(sampled(unit(map.data), map.shape, every), expected.data);
}

/** `asPaper`: how far the peer is from sightline without `compat`. */
async function compareKey(model, images, targets, key, tensor, exact, asPaper = false) {
  const { every, options } = parseKey(key);
  if (asPaper) delete options.compat;
  const [, ...rest] = tensor.shape;
  const size = every > 1 || rest.at(-1) === SIDE ? 'image' : 'grid';
  const start = performance.now();
  // A peer may have been asked about fewer images than there are.
  const explained = await model.explain(images.slice(0, tensor.shape[0]), {
    ...options,
    size,
    raw: true,
    targets: targets.slice(0, tensor.shape[0]).map((target) => [target]),
  });
  const seconds = (performance.now() - start) / 1000;
  const found = [];
  for (const [i, { maps }] of explained.entries()) {
    const expected = part(tensor, i);
    const ours = rest.length === 3 ? maps : maps.slice(0, 1);
    for (const [concept, map] of ours.entries()) {
      const theirs = rest.length === 3 ? part(expected, concept) : expected;
      const pair = compareMap(map, theirs, every);
      if (exact) {
        const whole = part(exact, i);
        const double = rest.length === 3 ? part(whole, concept) : whole;
        pair.oursToDouble = compareMap(map, double, every).max;
        pair.peerToDouble =
          every === 1 ? difference(unit(theirs.data), unit(double.data)).max : difference(theirs.data, double.data).max;
      }
      found.push({ ...pair, state: map.state });
    }
  }
  const worst = (name) => Math.max(...found.map((each) => each[name]));
  return {
    max: worst('max'),
    mean: worst('mean'),
    ...(exact && { oursToDouble: worst('oursToDouble'), peerToDouble: worst('peerToDouble') }),
    flat: found.some(({ state }) => state !== 'ok'),
    seconds: Number(seconds.toFixed(2)),
  };
}

async function compareModel(scratch, name, again) {
  const folder = path.join(scratch, name);
  const file = path.join(folder, 'results.json');
  const results = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  const files = readdirSync(folder).filter(
    (each) => each.endsWith('.safetensors') && !each.endsWith('-float64.safetensors'),
  );
  const work = [];
  // A file of one family may hold the float64 maps of another's keys.
  const exact = new Map(
    readdirSync(folder)
      .filter((each) => each.endsWith('-float64.safetensors'))
      .flatMap((each) => [...readTensors(path.join(folder, each))]),
  );
  for (const each of files) {
    const tensors = readTensors(path.join(folder, each));
    for (const [key, tensor] of tensors) {
      const known = results[key];
      if (
        known &&
        !known.error &&
        !(again && again.test(key)) &&
        !(exact.has(key) && known.oursToDouble === undefined) &&
        !(key.includes('"compat"') && SHIPPED.test(name) && known.asPaper === undefined)
      ) {
        continue;
      }
      work.push([key, tensor, exact.get(key)]);
    }
  }
  if (work.length === 0) return;
  const images = inputs(folder);
  const { targets } = JSON.parse(readFileSync(path.join(folder, 'case.json'), 'utf8'));
  const model = await Model.load(path.join(folder, 'model.pt'), { device: 'cpu', threads: 1, card: AS_IT_IS });
  for (const [key, tensor, exact] of work) {
    try {
      results[key] = await compareKey(model, images, targets, key, tensor, exact);
      if (key.includes('"compat"') && SHIPPED.test(name)) {
        results[key].asPaper = (await compareKey(model, images, targets, key, tensor, null, true)).max;
      }
    } catch (error) {
      results[key] = { error: error.message };
    }
    const { max, mean, seconds, error } = results[key];
    console.log(name, key, error ?? `${max.toExponential(1)} mean ${mean.toExponential(1)} ${seconds} s`);
    writeFileSync(file, JSON.stringify(results, null, 1));
  }
  await model.close();
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { models: { type: 'string' }, again: { type: 'string' }, render: { type: 'boolean' } },
});
const [scratch] = positionals;
if (!scratch) throw new Error('Name the scratch folder that make.py wrote to.');
const asked = values.models?.split(',') ?? MODELS;
if (!values.render) {
  for (const name of asked) {
    if (existsSync(path.join(scratch, name))) {
      await compareModel(scratch, name, values.again && new RegExp(values.again));
    }
  }
}
const all = Object.fromEntries(
  MODELS.map((name) => [name, path.join(scratch, name, 'results.json')])
    .filter(([, file]) => existsSync(file))
    .map(([name, file]) => [name, JSON.parse(readFileSync(file, 'utf8'))]),
);
writeFileSync(new URL('../../../docs/parity.md', import.meta.url), render(all, parseKey));
