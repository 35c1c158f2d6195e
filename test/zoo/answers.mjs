/**
 * What sightline answers of one archive, for the comparison with PyTorch.
 *
 *     node answers.mjs ARCHIVE IMAGES.f32 N,3,H,W TARGET OUT [as-exported]
 *
 * writes OUT.json, and the tensors that it names to OUT.bin.
 */
import { readFileSync, writeFileSync } from 'node:fs';

import { Model } from '../../dist/index.js';

const [archive, imagesFile, shapeText, targetText, out, tuning] = process.argv.slice(2);
const shape = shapeText.split(',').map(Number);
const target = Number(targetText);
const bytes = readFileSync(imagesFile);
const images = { data: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4), shape };
const [, , height, width] = shape;
const card = {
  name: 'zoo',
  input: {
    width,
    height,
    mean: [0, 0, 0],
    std: [1, 1, 1],
    resize: { mode: 'exact', size: [width, height] },
    interpolation: 'bilinear',
    crop: 'none',
  },
};

/** Numbers of one capture: what holds them is in memory several times. */
const MOST = 2 ** 25;
const METHODS = [
  ['grad-cam', { compat: 'captum' }, 'grad-cam signed'],
  ['grad-cam', {}, 'grad-cam'],
  ['attention-rollout', {}, 'attention-rollout'],
  ['gradient-rollout', {}, 'gradient-rollout'],
  ['gae', {}, 'gae'],
];

const answer = { tensors: {}, refused: {}, errors: {} };
const parts = [];
let offset = 0;
function keep(name, { data, shape: of }) {
  answer.tensors[name] = { offset, shape: [...of] };
  parts.push(Buffer.from(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)));
  offset += data.length;
}
const errorOf = (error) => ({
  code: error.code ?? error.name,
  message: error.message,
  details: error.details?.message ?? error.details?.cause ?? null,
});
async function attempt(name, work) {
  try {
    await work();
  } catch (error) {
    answer.errors[name] = errorOf(error);
  }
}

/** Values that are the same for every image, such as a table of positions, are refused. */
function untapped(error) {
  if (error.code !== 'METHOD_NOT_APPLICABLE') throw error;
}

function chunks(nodes) {
  const found = [];
  let room = 0;
  for (const node of nodes) {
    const size = node.shape.reduce((product, length) => product * length, shape[0]);
    if (found.length === 0 || room < size) {
      found.push([]);
      room = MOST;
    }
    found.at(-1).push(node.name);
    room -= size;
  }
  return found;
}

await attempt('load', async () => {
  const model = await Model.load(archive, { device: 'cpu', card, threads: 1, optimize: tuning !== 'as-exported' });
  answer.notes = model.notes;
  await attempt('inspect', async () => {
    answer.inspection = await model.inspect({ height, width });
  });
  await attempt('scores', async () => {
    const predicted = await model.predict(images);
    const rows = predicted.map(({ logits }) => logits.data);
    keep('logits', { data: Float32Array.from(rows.flatMap((row) => [...row])), shape: [rows.length, rows[0].length] });
  });
  if (answer.inspection) {
    const { nodes, attention, methods } = answer.inspection;
    for (const features of chunks(nodes)) {
      const capture = async (names) => {
        const captured = await model.capture(images, { features: names });
        for (const [name, tensor] of Object.entries(captured.features)) keep(`feature ${name}`, tensor);
      };
      try {
        await capture(features);
      } catch {
        // One that cannot be tapped fails all: which one it is, and why, must be known.
        for (const name of features) await attempt(`feature ${name}`, () => capture([name]).catch(untapped));
      }
    }
    for (const [site, { unsupported }] of attention.entries()) {
      if (unsupported !== '') continue;
      await attempt(`attention ${site}`, async () => {
        const captured = await model.capture(images, { attention: [site], gradients: { target } });
        keep(`attention ${site}`, captured.attention[site]);
        keep(`attention gradient ${site}`, captured.gradients.attention[site]);
      });
    }
    for (const [method, options, name] of METHODS) {
      const { applies, reason } = methods.find((each) => each.name === method);
      if (!applies) {
        answer.refused[method] = reason;
        continue;
      }
      await attempt(name, async () => {
        const explained = await model.explain(images, {
          method,
          targets: [target],
          size: 'grid',
          raw: true,
          ...options,
        });
        const maps = explained.map(({ maps: [map] }) => map);
        keep(name, {
          data: Float32Array.from(maps.flatMap(({ data }) => [...data])),
          shape: [maps.length, ...maps[0].shape],
        });
      });
    }
  }
  await model.close();
});

writeFileSync(`${out}.json`, JSON.stringify(answer));
writeFileSync(`${out}.bin`, Buffer.concat(parts));
