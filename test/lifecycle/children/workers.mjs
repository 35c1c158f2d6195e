// The engine in worker threads, seen from a main thread that has it as well, or not.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

import { pause, report, stage, tensor, until, VIT, VIT_OPTIONS } from './support.mjs';

const [what, times = '1'] = process.argv.slice(2);
const body = new URL('./worker-body.mjs', import.meta.url);
const begin = (workerData) => new Worker(body, { workerData });
/** A worker's first message. An error of the worker rejects. */
const message = async (worker) => (await once(worker, 'message'))[0];
const importSightline = () => import('../../../dist/index.js');

async function explainInMain(seed = 1) {
  const { Model } = await importSightline();
  const model = await Model.load(VIT, VIT_OPTIONS);
  const results = await model.explain(tensor(12, 24, 40, seed), { method: 'gae', size: 'grid', raw: true });
  await model.close();
  return results.map(({ maps }) => [...maps[0].data]);
}

const scenarios = {
  /** It loads, explains and ends with the model open or closed; main never loads the addon, or does so first. */
  async ends({ how = 'open', main = false }) {
    if (main) (await importSightline()).versions();
    for (let i = 0; i < Number(times); i++) {
      const worker = begin({ what: how });
      const ended = once(worker, 'exit');
      const maps = await message(worker);
      const [code] = await ended;
      stage(`ended ${code} with ${maps.length}`);
    }
    if (!main) return;
    const { stats } = await importSightline();
    await until("the workers' models to be freed", () => stats().models === 0);
    report(stats());
  },
  async terminate({ main = true, how = 'compute-for-ever' }) {
    // Loaded, not just imported: else each worker's end is that of the last environment, which stops the engine.
    const native = main ? await importSightline() : null;
    native?.versions();
    for (let i = 0; i < Number(times); i++) {
      const worker = begin({ what: how });
      await message(worker);
      // From just submitted to well under way.
      await pause((i * 7) % 60);
      await worker.terminate();
    }
    stage('terminated');
    if (!native) return;
    const { stats } = native;
    await until('the engine to be idle', () => stats().queued + stats().running === 0);
    await until("the workers' models to be freed", () => stats().models === 0);
    report(stats());
    report((await explainInMain()).length);
  },
  async 'terminate-while-loading'() {
    const { stats } = await importSightline();
    stats();
    for (let i = 0; i < Number(times); i++) {
      const worker = begin({ what: 'load' });
      await message(worker);
      await pause(i * 2);
      await worker.terminate();
    }
    await until("the workers' models to be freed", () => stats().models === 0);
    report(stats());
  },
  /** First loaded in a worker that is gone when main goes on to use it. */
  async 'first-in-worker'() {
    const first = begin({ what: 'open' });
    const ended = once(first, 'exit');
    const maps = await message(first);
    await ended;
    stage('worker ended');
    await pause(50);
    const mine = await explainInMain();
    report(JSON.stringify(mine) === JSON.stringify(maps));
    const second = begin({ what: 'close' });
    report(JSON.stringify(await message(second)) === JSON.stringify(maps));
    await once(second, 'exit');
  },
  async two() {
    const workers = [begin({ what: 'close', seed: 1 }), begin({ what: 'open', seed: 2 })];
    const ended = workers.map((worker) => once(worker, 'exit'));
    const maps = await Promise.all([...workers.map(message), explainInMain(1)]);
    await Promise.all(ended);
    const [first, second, mine] = maps.map((each) => JSON.stringify(each));
    report({ sameInputSameMap: first === mine, otherInputOtherMap: first !== second });
  },
  /** The main thread ends the process while a worker computes. */
  async 'main-exits'({ main = true }) {
    if (main) await explainInMain();
    const worker = begin({ what: 'compute-for-ever' });
    await message(worker);
    await pause(30);
    stage('exiting');
    process.exit(7);
  },
  async 'main-throws'() {
    const worker = begin({ what: 'compute-for-ever' });
    await message(worker);
    await pause(30);
    stage('throwing');
    throw new Error('the mistake of main');
  },
  async 'worker-fails'({ how }) {
    const { stats } = await importSightline();
    stats();
    const worker = begin({ what: how });
    worker.on('error', ({ message: text }) => stage(`error: ${text}`));
    const [code] = await once(worker, 'exit').catch(async () => once(worker, 'exit'));
    stage(`worker ended with ${code}`);
    await until('the engine to be idle', () => stats().running + stats().queued + stats().models === 0);
    report((await explainInMain()).length);
  },
};

const [name, options = '{}'] = what.split(/(?={)/);
await scenarios[name](JSON.parse(options));
stage('end');
