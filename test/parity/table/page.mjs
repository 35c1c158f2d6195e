import { readFileSync, existsSync } from 'node:fs';
import os from 'node:os';

import { versions } from '../../../dist/index.js';
import { DEPARTURES } from './departures.mjs';
import { EXCEPTIONS } from './exceptions.mjs';

const LIMITS = { exact: 1e-4, sampled: 1e-2 };
/** Methods that draw samples. The peers were made to draw ours, so that these too can be compared number by number. */
const SAMPLED = new Set([
  'smooth-grad',
  'var-grad',
  'rise',
  'ss-cam',
  'is-cam',
  'smooth-grad-cam++',
  'vit-cx',
  'random-cam',
]);
/** Options that differ between models in the table, and so do not name a row. */
const PER_MODEL = ['layer', 'samples', 'steps', 'masks', 'window', 'stride'];
const HEADS = {
  resnet50: 'ResNet-50',
  vit_base_patch16_224: 'ViT-B/16',
  deit_tiny_patch16_224: 'DeiT-Ti',
  swin_tiny_patch4_window7_224: 'Swin-T',
  'resnet-tiny-shapes': 'resnet-tiny-shapes',
  'vit-tiny-shapes': 'vit-tiny-shapes',
};

const passes = (method, { max, mean }) => max <= LIMITS.exact || (SAMPLED.has(method) && mean <= LIMITS.sampled);
const short = (value) => (value === 0 ? '0' : value.toExponential(0));
const listed = (options) =>
  Object.entries(options)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ') || 'defaults';

/** The whole page docs/parity.md. `all`: results by model and key. */
export function render(all, parseKey) {
  const rows = new Map();
  const failed = [];
  const measures = [];
  for (const [model, results] of Object.entries(all)) {
    for (const [key, result] of Object.entries(results)) {
      const { peer, options } = parseKey(key);
      const { method, ...own } = options;
      const named = Object.fromEntries(Object.entries(own).filter(([name]) => !PER_MODEL.includes(name)));
      const row = JSON.stringify([method, peer, named]);
      if (!rows.has(row)) rows.set(row, { method, peer, named, cells: new Map() });
      const cells = rows.get(row).cells;
      // Two settings of one row on one model: the larger difference stands.
      const cell = { ...result, own, model, method, peer };
      const before = cells.get(model);
      if (!before || cell.error || (!before.error && cell.max > before.max)) cells.set(model, cell);
      if (result.error) failed.push(cell);
      else if (!cell.flat || cell.max > 0) measures.push(cell);
    }
  }
  const above = measures.filter((cell) => !passes(cell.method, cell));
  const notes = [];
  const noteOf = (cell) => {
    const found = EXCEPTIONS.find(
      ({ peer, method, models, options }) =>
        (!peer || peer === cell.peer) &&
        method === cell.method &&
        (!models || models.includes(cell.model)) &&
        (!options || Object.entries(options).every(([name, value]) => cell.own[name] === value)),
    );
    const text = found?.why ?? 'Not explained yet.';
    if (!notes.includes(text)) notes.push(text);
    return notes.indexOf(text) + 1;
  };
  const models = Object.keys(all);
  const body = [...rows.values()]
    .sort((a, b) =>
      a.method === b.method
        ? (a.peer + listed(a.named)).localeCompare(b.peer + listed(b.named))
        : a.method.localeCompare(b.method),
    )
    .map(({ method, peer, named, cells }) => {
      const shown = models.map((model) => {
        const cell = cells.get(model);
        if (!cell) return '·';
        if (cell.error) return 'failed';
        if (cell.flat && cell.max === 0) return 'flat';
        return passes(method, cell) ? short(cell.max) : `**${short(cell.max)}** [${noteOf(cell)}]`;
      });
      return `| ${method} | ${peer} | ${listed(named)} | ${shown.join(' | ')} |`;
    });
  const counts = new Map();
  for (const cell of measures) {
    const many = PER_MODEL.filter((name) => name !== 'layer' && cell.own[name] !== undefined).map(
      (name) => `${name} ${JSON.stringify(cell.own[name])}`,
    );
    const layer =
      ['score-cam', 'ss-cam', 'is-cam', 'ablation-cam'].includes(cell.method) && cell.own.layer
        ? [`layer ${cell.own.layer}`]
        : [];
    const text = [...layer, ...many].join(', ');
    if (text) {
      counts.set(`${cell.method} ${text}`, {
        method: cell.method,
        text,
        models: [...new Set([...(counts.get(`${cell.method} ${text}`)?.models ?? []), HEADS[cell.model]])],
      });
    }
  }
  const doubles = measures.filter(
    (cell) =>
      cell.oursToDouble !== undefined &&
      above.some(({ method, model }) => method === cell.method && model === cell.model),
  );
  const within = measures.filter((cell) => cell.max <= LIMITS.exact).length;
  return `# Parity with other implementations

Answers of sightline beside those of each peer's own code, on the same weights and the same picture: the largest absolute
difference between the two maps, each brought to [0, 1] by its own range. The limit is 1e-4, and for methods that draw samples
1e-2 in the mean. The peers were made to draw sightline's noise, so that the same figure, the largest, is shown for them.
Bold: above the limit, explained below. \`flat\`: the peer's map and sightline's are zero everywhere. \`·\`: does not apply, or was left out (see below). ${measures.length} comparisons, ${within} within
1e-4${failed.length ? `, ${failed.length} failed` : ''}.

Options are those by which sightline repeats the peer; \`defaults\` says that the peer follows the paper, as sightline does by default. A peer
\`formula\` is the definition in float64, from test/parity/methods.

| method | peer | options | ${models.map((model) => HEADS[model]).join(' | ')} |
|---|---|---|${models.map(() => '---|').join('')}
${body.join('\n')}

## Where peers depart from the papers
With \`compat\` sightline repeats them, as the table shows. Without, on the shipped models, their maps lie this far from its own:

| method | peer | largest difference | where | what |
|---|---|---|---|---|
${departures(measures)}

## Above the limit
${notes.length ? notes.map((text, i) => `${i + 1}. ${text}`).join('\n') : 'Nothing.'}
${doubles.length ? doubleTable(doubles) : ''}
${failed.length ? `## Failed\n${failed.map(({ model, method, peer, error }) => `- ${method}, ${peer}, ${HEADS[model]}: ${error}`).join('\n')}\n` : ''}
## Models, pictures and settings
- ResNet-50 is torchvision's, ViT-B/16 timm's \`vit_base_patch16_224\`, DeiT-Ti \`deit_tiny_patch16_224\`, Swin-T \`swin_tiny_patch4_window7_224\`, with random weights by
  the rule of test/parity/seeded_weights.py. The picture is models/eval/003.png, the class the best for which Grad-CAM is positive somewhere. ResNet-50's head is scaled, so
  that its logits do not make a softmax one-hot. The two shipped models: models/eval/003.png and 005.png, the class of an object in each
  (gradients, perturbation and the Score-CAM family: 003.png alone).
- Layers: \`layer4\`, the last block's \`norm1\`, Swin's \`norm\`, where nothing else is said.
- Counts that differ from the defaults:
${[...counts.values()]
  .sort((a, b) => a.method.localeCompare(b.method))
  .map(({ method, text, models: at }) => `  - ${method}: ${text} (${at.join(', ')})`)
  .join('\n')}
${leftOut()}
${memory()}
## Versions and machine
${about()}

## To repeat
\`\`\`sh
pip install torch==2.13.0 torchvision==0.28.0 timm==1.0.31 grad-cam==1.5.7 torchcam==0.5.0 captum==0.9.0 saliency==0.2.1 lxt==2.1 zennit==0.5.1 safetensors scikit-learn networkx scipy pillow
pip install xplique==2.0.2 tensorflow-cpu==2.20.0   # in an environment of its own where it does not go with the others
npx tsc -p . && npm run build
python test/parity/table/make.py SCRATCH archives
for family in cam attention flow score gradients xplique relevance; do
  python test/parity/table/make.py SCRATCH $family --peers CHECKOUTS --xplique PYTHON_WITH_XPLIQUE
done
python test/parity/table/make.py SCRATCH xplique --double --models resnet50 resnet-tiny-shapes
python test/parity/table/make.py SCRATCH relevance --double --models deit_tiny_patch16_224 vit-tiny-shapes --peers CHECKOUTS
python test/parity/table/versions.py CHECKOUTS xplique=2.0.2 tensorflow=2.20.0 saliency=0.2.1
node test/parity/table/memory.mjs SCRATCH
node test/parity/table/compare.mjs SCRATCH          # writes this page
\`\`\`
CHECKOUTS holds OWNER+NAME/repo of jacobgil/vit-explain, hila-chefer/Transformer-Explainability, hila-chefer/Transformer-MM-Explainability,
samiraabnar/attention_flow, gorokoba560/norm-analysis-of-transformer, hmohebbi/ValueZeroing, idiap/fullgrad-saliency and vaynexie/CausalX-ViT.
`;
}

/** One line for each peer and method that needs `compat`. */
function departures(measures) {
  const groups = new Map();
  for (const { method, peer, asPaper } of measures) {
    if (asPaper === undefined) continue;
    const key = JSON.stringify([method, peer]);
    groups.set(key, Math.max(groups.get(key) ?? 0, asPaper));
  }
  return [...groups]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([key, largest]) => {
      const [method, peer] = JSON.parse(key);
      const found = DEPARTURES.find((each) => each.method === method && each.peer === peer);
      return `| ${method} | ${peer} | ${short(largest)} | ${found?.where ?? ''} | ${found?.why ?? ''} |`;
    })
    .join('\n');
}

function doubleTable(cells) {
  return `
Where float32 itself is the reason, the peer was run in float64 as well (xplique and PAIR: their formula). Distances of the float32 maps from that one:

| method | peer | model | options | sightline, float32 | peer, float32 |
|---|---|---|---|---|---|
${cells.map(({ method, peer, model, own, oursToDouble, peerToDouble }) => `| ${method} | ${peer} | ${HEADS[model]} | ${listed(own)} | ${short(oursToDouble)} | ${short(peerToDouble)} |`).join('\n')}
`;
}

const beside = (name) => new URL(name, import.meta.url);

function leftOut() {
  return readFileSync(beside('left-out.md'), 'utf8').trim();
}

function memory() {
  const file = beside('memory.json');
  if (!existsSync(file)) return '';
  const { addedMiB, seconds, cpuSeconds, chunk, before, peak, threads, date } = JSON.parse(readFileSync(file, 'utf8'));
  return `
## Memory of Score-CAM on ResNet-50
\`score-cam\` at \`layer4\`, 2048 masks, one picture, the default \`memory\`: ${addedMiB} MiB of added resident memory (peak ${peak} MiB, ${before} MiB before the call;
VmHWM after a reset by clear_refs), ${cpuSeconds} s of CPU time with ${threads} ${threads === 1 ? 'thread' : 'threads'} (${seconds} s by the clock, on a machine shared with other work), ${chunk} masks in one run (${date}). The limit is 1.5 GB.
`;
}

function about() {
  const { peers } = JSON.parse(readFileSync(beside('versions.json'), 'utf8'));
  const { libtorch, cpuCapability } = versions();
  return `- Compared ${new Date().toISOString().slice(0, 10)} on ${os.cpus()[0].model.trim()}, ${os.cpus().length} cores, Node ${process.version}, LibTorch ${libtorch} (${cpuCapability}), float32 on the CPU, one thread.
- Peers: ${Object.entries(peers)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')}.`;
}
