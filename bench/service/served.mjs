// The process of bench/service.mjs that holds the model: asks it by serving, and without HTTP in a loop of its own.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import { Model, stats } from '../../dist/index.js';
import { createService, nodeHandler } from '../../dist/service/http.js';
import { PHOTOS } from './photos.mjs';

const [name, query, maxRequests] = process.argv.slice(2);
const model = await Model.load(name, { device: 'cpu', imageFiles: false });
const service = createService({
  models: { model },
  limits: { maxRequests: Number(maxRequests) },
  deadline: 3_600_000,
});
const server = createServer(nodeHandler(service)).listen(0, '127.0.0.1');
await once(server, 'listening');

const images = PHOTOS.map((file) => readFileSync(file));
const options = Object.fromEntries(
  [...new URLSearchParams(query)].map(([key, text]) => {
    try {
      return [key, JSON.parse(text)];
    } catch {
      return [key, text];
    }
  }),
);
const processorSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** @param {{ callers: number, seconds: number }} loop */
async function engine({ callers, seconds }) {
  const before = processorSeconds();
  const started = performance.now();
  const end = started + seconds * 1000;
  let requests = 0;
  const caller = async () => {
    while (performance.now() < end) {
      await model.explain([images[requests++ % images.length]], options);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const elapsed = (performance.now() - started) / 1000;
  return { requests, perSecond: requests / elapsed, processorSeconds: (processorSeconds() - before) / requests };
}

async function answer({ engine: loop }) {
  process.send(
    loop === undefined
      ? { processorSeconds: processorSeconds(), residentBytes: process.memoryUsage.rss(), batches: stats().batches }
      : await engine(loop),
  );
}
async function end() {
  server.close();
  server.closeAllConnections();
  await service.close();
  await model.close();
}
process.on('message', (question) => void answer(question));
process.on('disconnect', () => void end());
process.send({ url: `http://127.0.0.1:${server.address().port}` });
