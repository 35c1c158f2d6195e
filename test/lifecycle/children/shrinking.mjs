// Resizable buffers that shrink, and are transferred, at every moment of a decode: nothing of it may end the process.
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import sharp from 'sharp';

import { Model } from '../../../dist/index.js';
import { stage } from './support.mjs';

const model = await Model.load(fileURLToPath(new URL('../../parity/archives/timm-resnet-traced.pt', import.meta.url)), {
  device: 'cpu',
});
stage('loaded');
const noise = Buffer.alloc(1500 * 1500 * 3);
for (let i = 0; i < noise.length; i += 1) noise[i] = (i * 2654435761) >>> 24;
const encoded = await sharp(noise, { raw: { width: 1500, height: 1500, channels: 3 } })
  .png({ compressionLevel: 1 })
  .toBuffer();
for (let round = 0; round < 12; round++) {
  const buffer = new ArrayBuffer(encoded.length, { maxByteLength: encoded.length });
  const bytes = new Uint8Array(buffer);
  bytes.set(encoded);
  const works = [model.predict(bytes), model.predict(new DataView(buffer)), model.predict(buffer)];
  if (round > 0) await setTimeout(round * 4);
  buffer.resize(0);
  for (const outcome of await Promise.allSettled(works)) {
    if (outcome.status === 'rejected' && !String(outcome.reason?.code).startsWith('INVALID_')) throw outcome.reason;
  }
}
await model.close();
stage('done');
