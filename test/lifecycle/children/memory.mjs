// Run with --expose-gc: what is freed, and when.
import { z } from 'zod';

import * as sightline from '../../../dist/index.js';
import { endless, pause, report, RESNET, RESNET_OPTIONS, stage, tensor, until, VIT, VIT_OPTIONS } from './support.mjs';

const { Model, stats, symbolic, defineMethod } = sightline;
const [what] = process.argv.slice(2);

/** Finalizers run in a later turn of the event loop than the collection that finds the garbage. */
async function collect() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await pause(5);
  }
}
/** By a number of collections, which is the same on every machine. */
async function collectModels() {
  for (let i = 0; i < 200 && stats().models > 0; i++) await collect();
  if (stats().models > 0) throw new Error(`200 collections left ${stats().models} models`);
}
const idle = ({ models, weightBytes, queued, running }) => ({ models, weightBytes, queued, running });

async function unclosed() {
  const models = await Promise.all([1, 2, 3].map(() => Model.load(VIT, VIT_OPTIONS)));
  report(stats());
  for (const model of models) await model.explain(tensor(2, 24, 40), { method: 'gae' });
}

/**
 * A model that only the function holds which asks it for work: once that has gone, too, the work is done, then the
 * model is freed.
 */
async function loadUnclosed() {
  const model = await Model.load(VIT, VIT_OPTIONS);
  return () => model.explain(tensor(64, 24, 40), { method: 'gradient-rollout' });
}

const resident = () => process.memoryUsage().rss;

if (what === 'unclosed') {
  await unclosed();
  await collectModels();
  report(idle(stats()));
} else if (what === 'unclosed-amid-work') {
  // The engine is kept busy by another model, so that the work waits for as long as the collection takes.
  let ask = await loadUnclosed();
  const other = await Model.load(VIT, VIT_OPTIONS);
  const abort = new AbortController();
  const busy = other
    .explain(tensor(1, 24, 40), { method: endless(sightline, z), memory: 1, signal: abort.signal })
    .catch(({ code }) => code);
  await until('the engine to be busy', () => stats().running > 0);
  const work = ask();
  ask = null; // eslint-disable-line no-useless-assignment -- the function itself is to go
  await until('work', () => stats().queued > 0);
  await collect();
  abort.abort();
  report((await work).length);
  if ((await busy) !== 'ABORTED') throw new Error('the other model’s work was not aborted');
  await other.close();
  await collectModels();
  report(idle(stats()));
} else if (what === 'open-and-close') {
  const before = stats();
  for (let i = 0; i < 40; i++) {
    const model = await Model.load(VIT, VIT_OPTIONS);
    if (i % 2 === 0) await model.explain(tensor(1, 24, 40), { method: 'gae' });
    await model.close();
    if (stats().models !== 0) throw new Error(`after close ${i} there are ${stats().models} models`);
    if (i === 9) globalThis.start = (await collect(), resident());
  }
  await collect();
  report({ before: idle(before), after: idle(stats()), growth: resident() - globalThis.start });
} else if (what === 'explain') {
  const model = await Model.load(RESNET, RESNET_OPTIONS);
  const before = stats();
  const round = () => model.explain(tensor(4, 64, 64), { method: 'grad-cam', targets: ['top2'] });
  for (let i = 0; i < 50; i++) await round();
  await collect();
  const start = resident();
  for (let i = 0; i < 200; i++) await round();
  await collect();
  report({
    before: idle(before),
    after: idle(stats()),
    completed: stats().completed - before.completed,
    growth: resident() - start,
    external: process.memoryUsage().arrayBuffers,
  });
} else if (what === 'refused') {
  // QUEUE_FULL is what a server under too much load gets all the time: refusing must cost nothing that lasts.
  const model = await Model.load(RESNET, { ...RESNET_OPTIONS, maxQueue: 4 });
  const images = tensor(8, 64, 64);
  // The engine is busy and the queue is full for as long as it takes.
  const abort = new AbortController();
  const busy = model
    .explain(tensor(1, 64, 64), { method: endless(sightline, z), memory: 1, signal: abort.signal })
    .catch(({ code }) => code);
  await until('the engine to be busy', () => stats().running > 0);
  // A size that nobody asked for is a task in the queue: what comes after it cannot pass the work at hand.
  const fence = model.inspect({ height: 96, width: 96 });
  const waiting = model.explain(tensor(4, 64, 64), { method: 'cam' });
  await until('the queue to be full', () => stats().queued === 4);
  const round = async () => {
    const outcome = await model.explain(images, { method: 'cam' }).catch(({ code }) => code);
    if (outcome !== 'QUEUE_FULL') throw new Error(`expected QUEUE_FULL, got ${outcome}`);
  };
  for (let i = 0; i < 500; i++) await round();
  await collect();
  const start = resident();
  const startHeap = process.memoryUsage().heapUsed;
  for (let i = 0; i < 3000; i++) await round();
  await collect();
  report({ growth: resident() - start, heapGrowth: process.memoryUsage().heapUsed - startHeap, after: idle(stats()) });
  abort.abort();
  if ((await busy) !== 'ABORTED') throw new Error('the work ahead was not aborted');
  await fence;
  if ((await waiting).length !== 4) throw new Error('what waited was not done');
} else if (what === 'aborted') {
  const model = await Model.load(VIT, VIT_OPTIONS);
  const round = async () => {
    const abort = new AbortController();
    const work = model.explain(tensor(8, 24, 40), { method: 'gae', signal: abort.signal }).catch(({ code }) => code);
    setImmediate(() => abort.abort());
    await work;
  };
  for (let i = 0; i < 100; i++) await round();
  await collect();
  const start = resident();
  for (let i = 0; i < 400; i++) await round();
  await collect();
  report({ growth: resident() - start, after: idle(stats()) });
} else if (what === 'sizes') {
  // More sizes than are kept straightened.
  const model = await Model.load(RESNET, RESNET_OPTIONS);
  const round = async (i) => model.explain(tensor(1, 32 + 8 * (i % 12), 48), { method: 'grad-cam' });
  for (let i = 0; i < 36; i++) await round(i);
  await collect();
  const start = resident();
  for (let i = 0; i < 120; i++) await round(i);
  await collect();
  report({ growth: resident() - start });
} else if (what === 'custom-methods') {
  // A custom method is recorded anew for each call; its plans must go.
  const model = await Model.load(VIT, VIT_OPTIONS);
  const round = () =>
    model.explain(tensor(1, 24, 40), {
      method: defineMethod({
        name: 'custom',
        options: z.strictObject({}),
        usesLayer: false,
        isClassSpecific: false,
        reasonAgainst: () => null,
        map: ({ model: symbolicModel }) => symbolic.mean(symbolicModel.image, 'channels'),
      }),
    });
  for (let i = 0; i < 100; i++) await round();
  await collect();
  const start = resident();
  for (let i = 0; i < 400; i++) await round();
  await collect();
  report({ growth: resident() - start });
} else if (what === 'mixed') {
  // What a server does: methods of all kinds, in batches of every size.
  const [vit, resnet] = [await Model.load(VIT, VIT_OPTIONS), await Model.load(RESNET, RESNET_OPTIONS)];
  const methods = ['cam', 'attention-rollout', 'gae', 'grad-cam'];
  const isOfCnn = (method) => method.endsWith('cam');
  let explained = 0;
  const round = async (i) => {
    const method = methods[i % methods.length];
    const count = 1 + (i % 8);
    const images = isOfCnn(method) ? tensor(count, 64, 64, i + 1) : tensor(count, 24, 40, i + 1);
    explained += (await (isOfCnn(method) ? resnet : vit).explain(images, { method })).length;
  };
  const explainUntil = async (total, i) => {
    for (; explained < total; i++) await round(i);
    return i;
  };
  // As much as what is measured: until then the allocator grows to what the largest batches take at once.
  const warm = await explainUntil(2000, 0);
  await collect();
  const [start, before] = [resident(), explained];
  await explainUntil(before + 2000, warm);
  await collect();
  report({
    explained: explained - before,
    resident: start,
    growth: resident() - start,
    share: (resident() - start) / start,
  });
}
stage('end');
