/**
 * How an exported program and another form of the same model differ: scores, names, attention sites, maps. The other
 * form is an archive of test/parity, or a skeleton with a checkpoint.
 */
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';

import { Model } from '../../dist/index.js';

const REFERENCES = new URL('../parity/references/', import.meta.url);
const ARCHIVES = new URL('../parity/archives/', import.meta.url);
const SKELETONS = new URL('../../models/skeletons/', import.meta.url);

/** Few samples, of methods that run the model often: more would tell nothing of the program. */
const FEW = {
  'is-cam': { steps: 3 },
  'opti-cam': { steps: 3 },
  'ss-cam': { samples: 3 },
  'smooth-grad': { samples: 3 },
  'var-grad': { samples: 3 },
  'integrated-gradients': { steps: 6 },
  'expected-gradients': { samples: 3 },
  'blur-ig': { steps: 3 },
  'beyond-intuition': { steps: 3 },
  'deeplift-shap': { samples: 3 },
  xrai: { steps: 3 },
  occlusion: { window: 56, stride: 48 },
  rise: { masks: 24, grid: 4 },
  'kernel-shap': { samples: 24, segments: 'patches', grid: 4 },
  lime: { samples: 24, segments: 'patches', grid: 4 },
};

/** Fifty steps of Adam carry a difference of rounding's size far: its page says so. */
const STABLE = { 'opti-cam': FEW['opti-cam'] };

/** They run a part of the model once for each channel of a layer, or each token; attention flow computes as long. */
const LONG = ['score-cam', 'ss-cam', 'is-cam', 'poly-cam', 'ablation-cam', 'value-zeroing', 'vit-cx', 'attention-flow'];
/** Bytes of a checkpoint; of larger ones those methods would take hours, and are left out. */
const MOST_FOR_LONG = 12e6;
/** Nodes that are read in one run. */
const CHUNK = 24;

/** Of a safetensors file. */
function headerOf(path) {
  const file = openSync(path, 'r');
  try {
    const length = Buffer.alloc(8);
    readSync(file, length, 0, 8, 0);
    const header = Buffer.alloc(Number(length.readBigUInt64LE()));
    readSync(file, header, 0, header.length, 8);
    return JSON.parse(header.toString());
  } finally {
    closeSync(file);
  }
}

/** Whatever is relative is relative to the largest value. */
function difference(a, b) {
  if (a.length !== b.length) return Infinity;
  const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0) / largest;
}

/** @param {string} name of an archive of test/parity */
export function compare(name, programs) {
  const [, , height, width] = headerOf(new URL(`${name}.safetensors`, REFERENCES)).input.shape;
  return compareWith(new URL(`${name}.pt`, ARCHIVES).pathname, programs, { name, height, width });
}

/**
 * @param {string} architecture
 * @param {string} checkpoint path of its weights
 */
export function compareSkeleton(architecture, checkpoint, programs) {
  const { size } = JSON.parse(readFileSync(new URL(`${architecture}.json`, SKELETONS), 'utf8'));
  const left = statSync(checkpoint).size > MOST_FOR_LONG ? LONG : [];
  const about = { name: architecture, architecture, height: size, width: size, options: FEW, left };
  return compareWith(checkpoint, programs, about);
}

/**
 * @param {string} other path
 * @param {readonly string[]} programs paths
 */
async function compareWith(other, programs, { name, architecture, height, width, options = STABLE, left = [] }) {
  const card = {
    name,
    input: {
      height,
      width,
      mean: [0, 0, 0],
      std: [1, 1, 1],
      resize: { mode: 'shorter-side', size: Math.max(height, width) },
      interpolation: 'bilinear',
      crop: 'center',
    },
  };
  const image = {
    data: Float32Array.from(
      { length: 3 * height * width },
      (_, i) => Math.sin(0.37 * i) + 0.5 * Math.cos(0.011 * i * i),
    ),
    shape: [1, 3, height, width],
  };
  /** Every node's values, some at a time. */
  async function* featuresOf(model, nodes) {
    for (let start = 0; start < nodes.length; start += CHUNK) {
      const { features } = await model.capture(image, { features: nodes.slice(start, start + CHUNK) });
      for (const [node, { data }] of Object.entries(features)) yield [node, data];
    }
  }
  const read = async (path, reference = null) => {
    const isOther = path === other && architecture !== undefined;
    const model = await Model.load(path, { device: 'cpu', card: { ...card, ...(isOther && { architecture }) } });
    try {
      const inspection = await model.inspect();
      const { predictions } = (await model.predict(image, { top: inspection.classes }))[0];
      const scores = predictions.toSorted((a, b) => a.index - b.index).map(({ score }) => score);
      const applies = inspection.methods.filter((method) => method.applies).map((method) => method.name);
      const names = inspection.nodes.map((node) => node.name);
      const features = new Map();
      let worstFeature = 0;
      if (reference === null) {
        for await (const [node, data] of featuresOf(model, names)) features.set(node, data);
      } else {
        const both = names.filter((node) => reference.features.has(node));
        for await (const [node, data] of featuresOf(model, both)) {
          worstFeature = Math.max(worstFeature, difference(reference.features.get(node), data));
        }
      }
      const maps = new Map();
      for (const method of reference?.applies ?? applies) {
        if (!applies.includes(method) || left.includes(method)) continue;
        const asked = { method, targets: [1], size: 'grid', raw: true, ...options[method] };
        const [explanation] = await model.explain(image, asked);
        maps.set(method, [...explanation.maps[0].data]);
      }
      return { inspection, scores, applies, maps, features, worstFeature };
    } finally {
      await model.close();
    }
  };
  const site = ({ attention }) => attention.map((each) => [each.heads, each.tokens, each.windows ?? 1].join());
  const archive = await read(other);
  const names = archive.inspection.nodes.map((node) => node.name);
  const compared = [];
  for (const path of programs) {
    const program = await read(path, archive);
    const own = new Set(program.inspection.nodes.map((node) => node.name));
    const maps = [...program.maps].map(([method, map]) => ({
      method,
      difference: difference(archive.maps.get(method), map),
    }));
    compared.push({
      scores: difference(archive.scores, program.scores),
      features: names.length,
      worstFeature: program.worstFeature,
      missing: names.filter((each) => !own.has(each)),
      sites: site(archive.inspection).length,
      areSitesSame: site(archive.inspection).join(';') === site(program.inspection).join(';'),
      isTargetLayerSame: archive.inspection.targetLayer === program.inspection.targetLayer,
      lost: archive.applies.filter((method) => !program.applies.includes(method)),
      maps: maps.length,
      worst: maps.reduce((most, each) => (each.difference > most.difference ? each : most), {
        method: '',
        difference: 0,
      }),
    });
  }
  return compared;
}
