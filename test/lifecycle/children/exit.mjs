// Ends the process by process.exit(7) at a moment of choice.
import { z } from 'zod';

import * as sightline from '../../../dist/index.js';
import { endless, pause, stage, tensor, until, VIT, VIT_OPTIONS } from './support.mjs';

const { Model, stats } = sightline;
/** Images that reached the engine: unlike those that wait, they grow no fewer while nobody looks. */
const submitted = () => stats().queued + stats().running + stats().completed;
const [when, delay = '0'] = process.argv.slice(2);

if (when === 'in-another-exit-handler') process.on('exit', () => process.exit(7));
if (when === 'while-loading') {
  for (let i = 0; i < 4; i++) Model.load(VIT, VIT_OPTIONS).catch(() => {});
  await pause(Number(delay));
  stage('exiting');
  process.exit(7);
}

const model = await Model.load(VIT, VIT_OPTIONS);
const work = () => model.explain(tensor(1, 24, 40), { method: endless(sightline, z), memory: 1 });
stage('loaded');
if (when === 'model-open') {
  await model.explain(tensor(2, 24, 40), { method: 'gae' });
} else if (when === 'same-turn') {
  work();
} else if (when === 'submitted') {
  work();
  await until('the request to reach the engine', () => submitted() > 0);
} else if (when === 'queue-full-of-work') {
  for (let i = 0; i < 8; i++) model.explain(tensor(32, 24, 40), { method: 'gradient-rollout' });
  await until('work', () => submitted() > 100);
} else if (when === 'closing') {
  model.explain(tensor(64, 24, 40), { method: 'gae' });
  await until('work', () => submitted() > 0);
  model.close();
} else {
  work();
  await until('the engine to compute', () => stats().running > 0);
  await pause(Number(delay));
}
if (when === 'work-begun-on-exit') process.on('exit', () => void model.explain(tensor(1, 24, 40), { method: 'gae' }));
if (when === 'throw') {
  stage('throwing');
  throw new Error("the user's own mistake");
}
if (when === 'reject') {
  stage('rejecting');
  Promise.reject(new Error("the user's own mistake"));
  await pause(2 ** 31 - 1);
}
if (when === 'signal') {
  stage('waiting');
  await pause(2 ** 31 - 1);
}
stage('exiting');
process.exit(7);
