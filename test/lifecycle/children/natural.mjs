// Lets the process end by itself.
import { Model, stats, versions } from '../../../dist/index.js';
import { stage, tensor, until, VIT, VIT_OPTIONS } from './support.mjs';

const [what] = process.argv.slice(2);
if (what === 'addon-only') {
  versions();
} else if (what === 'unawaited-load') {
  Model.load(VIT, VIT_OPTIONS).then(() => stage('done'));
} else {
  const model = await Model.load(VIT, VIT_OPTIONS);
  stage('loaded');
  if (what === 'unawaited-explain') {
    model
      .explain(tensor(40, 24, 40), { method: 'gradient-rollout' })
      .then((results) => stage(`done ${results.length}`));
  } else if (what === 'unawaited-capture-and-inspect') {
    model.capture(tensor(8, 24, 40), { attention: 'all' }).then(() => stage('captured'));
    model.inspect({ height: 24, width: 40 }).then(() => stage('inspected'));
  } else if (what === 'unawaited-close') {
    model.explain(tensor(16, 24, 40), { method: 'gae' }).then(() => stage('explained'));
    await until('work', () => stats().queued + stats().running + stats().completed > 0);
    model.close().then(() => stage(`closed ${stats().models}`));
  } else {
    await model.explain(tensor(4, 24, 40), { method: 'gae' });
    if (what === 'closed') await model.close();
    stage('explained');
  }
}
