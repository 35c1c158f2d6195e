#!/usr/bin/env node
/**
 * Which methods have the host wait for the device in the middle of a run: counted on the emulated device, and written
 * into docs/cuda.md.
 *
 *   node test/device/read-backs.mjs [--write]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { METHOD_NAMES, Model, versions } from '../../dist/index.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGE = path.join(ROOT, 'docs', 'cuda.md');
const BEGIN = '<!-- read-backs -->';
const END = '<!-- end of read-backs -->';

/** Two architectures, one image each by one class and as many samples as FEW says. */
const ARCHIVES = [
  { name: 'torchvision-resnet-traced', title: 'ResNet', height: 32, width: 48 },
  { name: 'timm-vit-fused-traced', title: 'ViT', height: 24, width: 40 },
];
const SAMPLES = 3;
/** @type {Record<string, object>} */
const FEW = {
  'is-cam': { steps: SAMPLES },
  'opti-cam': { steps: SAMPLES },
  'ss-cam': { samples: SAMPLES },
  'smooth-grad': { samples: SAMPLES },
  'smooth-grad-cam++': { samples: SAMPLES },
  'var-grad': { samples: SAMPLES },
  'integrated-gradients': { steps: SAMPLES },
  'expected-gradients': { samples: SAMPLES },
  'blur-ig': { steps: SAMPLES },
  'beyond-intuition': { steps: SAMPLES },
  'deeplift-shap': { samples: SAMPLES },
  xrai: { steps: SAMPLES },
  occlusion: { window: 9, stride: 8 },
  rise: { masks: SAMPLES, grid: 4 },
  'kernel-shap': { samples: 200 },
  lime: { samples: SAMPLES },
};

/** Why the host has to see them: of each method that the table names. @type {Record<string, string>} */
const REASONS = {
  'eigen-cam': 'values that are not finite are refused before eigenvectors are asked for, which wait by themselves',
  'eigen-grad-cam': 'as `eigen-cam`',
  'kpca-cam': 'as `eigen-cam`, and the eigenvalue; beyond 256 positions once in 10 steps of Lanczos instead',
  'deep-feature-factorization':
    'the features: each of up to 200 rounds goes on from concept to concept, and its end depends on its values',
  'attention-flow': 'the attention: a maximum flow is searched for, which is no tensor arithmetic',
  'kernel-shap': 'the image, which is cut into segments, and the scores, of which a system of equations is solved',
  lime: 'as `kernel-shap`',
  xrai: 'the image, which is cut into segments, and the attributions, by which regions are ranked one after the other',
  'vit-cx': 'the distances of the masks: clusters are joined one pair after the other',
};

/** @typedef {{ method: string, counts: (number | null)[], operators: string[] }} Row */

/** @returns {Promise<Row[]>} */
export async function countReadBacks() {
  // Our addon first: it has LibTorch in the process by then.
  versions();
  const emulated = createRequire(import.meta.url)(path.join(ROOT, 'build', 'emulated-device.node'));
  /** @type {Map<string, Row>} */
  const rows = new Map(METHOD_NAMES.map((method) => [method, { method, counts: [], operators: [] }]));
  for (const { name, height, width } of ARCHIVES) {
    const input = { width, height, mean: [0, 0, 0], std: [1, 1, 1], interpolation: 'bilinear', crop: 'none' };
    const model = await Model.load(path.join(ROOT, 'test', 'parity', 'archives', `${name}.pt`), {
      device: /** @type {'cpu'} */ ('emulated:0'),
      card: /** @type {never} */ ({ name, input: { ...input, resize: { mode: 'exact', size: [width, height] } } }),
    });
    const image = {
      data: Float32Array.from({ length: 3 * height * width }, (_, i) => Math.sin(0.37 * i)),
      shape: [1, 3, height, width],
    };
    const { methods } = await model.inspect();
    for (const { name: method, applies } of methods) {
      const row = /** @type {Row} */ (rows.get(method));
      if (!applies) {
        row.counts.push(null);
        continue;
      }
      const options = /** @type {never} */ ({ method, targets: [1], ...FEW[method] });
      // The first run makes the network ready.
      await model.explain(/** @type {never} */ (image), options);
      emulated.reset();
      await model.explain(/** @type {never} */ (image), options);
      const { readBacks } = emulated.waits();
      row.counts.push(Object.values(readBacks).reduce((sum, count) => sum + count, 0));
      for (const operator of Object.keys(readBacks)) {
        if (!row.operators.includes(operator)) row.operators.push(operator);
      }
    }
    await model.close();
  }
  return [...rows.values()].filter(({ counts }) => counts.some((count) => count !== null && count > 0));
}

/** @param {Row[]} rows */
export function describeReadBacks(rows) {
  const line = (/** @type {string[]} */ cells) => `| ${cells.join(' | ')} |`;
  return [
    line(['method', ...ARCHIVES.map(({ title }) => title), 'by', 'why']),
    line(['---', ...ARCHIVES.map(() => '---'), '---', '---']),
    ...rows.map(({ method, counts, operators }) =>
      line([
        `\`${method}\``,
        ...counts.map((count) => (count === null ? '' : String(count))),
        operators.map((operator) => `\`${operator.replace('aten::', '')}\``).join(', '),
        REASONS[method] ?? 'unknown',
      ]),
    ),
  ].join('\n');
}

/** What the page has between the marks. */
export function writtenReadBacks(page = readFileSync(PAGE, 'utf8')) {
  return page.slice(page.indexOf(BEGIN) + BEGIN.length, page.indexOf(END)).trim();
}

if (process.argv[1] !== undefined && pathToFileURL(process.argv[1]).href === import.meta.url) {
  const table = describeReadBacks(await countReadBacks());
  if (process.argv.includes('--write')) {
    const page = readFileSync(PAGE, 'utf8');
    writeFileSync(
      PAGE,
      page.replace(writtenReadBacks(page), () => table),
    );
  } else {
    console.log(table);
  }
}
