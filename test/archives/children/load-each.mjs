// Loads archives one after the other: load-each.mjs OPTIONS FILE... What becomes of each is reported.
import { Model } from '../../../dist/index.js';

/** Of the processor, not of a clock, which would count what else runs on the machine. */
const milliseconds = ({ user, system }) => (user + system) / 1000;

const [options, ...files] = process.argv.slice(2);
for (const file of files) {
  console.log(`@stage ${file}`);
  const started = process.cpuUsage();
  let ending;
  try {
    const model = await Model.load(file, { device: 'cpu', threads: 1, ...JSON.parse(options) });
    ending = { code: 'LOADED', message: model.notes.join(' ') };
    await model.close();
  } catch (error) {
    ending = { code: error.code ?? 'NONE', message: error.message, name: error.name };
  }
  console.log(`@report ${JSON.stringify({ file, ...ending, milliseconds: milliseconds(process.cpuUsage(started)) })}`);
}
