// How many threads compute, as the operating system counts them.
import { readFileSync, readdirSync } from 'node:fs';

import { getThreads, Model, setThreads, versions } from '../../../dist/index.js';
import { report, RESNET, RESNET_OPTIONS, stage, tensor } from '../../lifecycle/children/support.mjs';

/** Nanoseconds on a processor, by thread. */
const times = () =>
  new Map(
    readdirSync('/proc/self/task').map((thread) => [
      thread,
      Number(readFileSync(`/proc/self/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
    ]),
  );

async function computing(model) {
  const images = tensor(8, 224, 224);
  await model.explain(images, { method: 'grad-cam' });
  const before = times();
  for (let i = 0; i < 4; i++) await model.explain(images, { method: 'grad-cam' });
  const spent = [...times()]
    .filter(([thread]) => Number(thread) !== process.pid)
    .map(([thread, time]) => time - (before.get(thread) ?? 0));
  const most = Math.max(...spent);
  return spent.filter((time) => time > most / 5).length;
}

const model = await Model.load(RESNET, RESNET_OPTIONS);
for (const threads of [3, 1]) {
  setThreads(threads);
  report({ asked: threads, said: getThreads(), computing: await computing(model) });
}
// The option of a load is the same number, also for the models that are there.
const other = await Model.load(RESNET, { ...RESNET_OPTIONS, threads: 2 });
report({ asked: 2, said: versions().threads, computing: await computing(model) });
await Promise.all([model.close(), other.close()]);
stage('end');
