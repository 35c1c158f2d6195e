// How much memory a large picture takes beyond its own pixels and their copy.
import { Model } from '../../../dist/index.js';
import { report, RESNET, RESNET_OPTIONS, stage } from './support.mjs';

const SIDE = 8000;
const model = await Model.load(RESNET, RESNET_OPTIONS);
const data = new Uint8Array(SIDE * SIDE * 3);
for (let i = 0; i < data.length; i++) data[i] = i % 251;
stage('made');
const before = process.resourceUsage().maxRSS;
await model.predict({ data, width: SIDE, height: SIDE, channels: 3 });
report({ pixels: data.length, taken: (process.resourceUsage().maxRSS - before) * 1024 });
await model.close();
