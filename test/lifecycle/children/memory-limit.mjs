// Loads a model of 256 MiB with less than that left, and again without a limit.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

import * as sightline from '../../../dist/index.js';
import { report, stage, VIT, VIT_OPTIONS } from './support.mjs';

const { Model } = sightline;
const [file] = process.argv.slice(2);
const limit = (bytes) => execFileSync('prlimit', ['--pid', String(process.pid), `--as=${bytes}:unlimited`]);

// The addon, LibTorch and its threads take their addresses before the limit counts.
const first = await Model.load(VIT, VIT_OPTIONS);
await first.close();
const held = Number(/VmSize:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
limit(held + 128 * 2 ** 20);
stage('limited');
try {
  await Model.load(file);
} catch (error) {
  report({ code: error.code, message: error.message });
  stage('refused');
}
limit('unlimited');
const model = await Model.load(file);
stage('lifted');
await model.close();
stage('end');
