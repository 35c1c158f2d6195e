#!/usr/bin/env node
/**
 * The service under load beside the engine without HTTP: JPEGs in, maps out, by the shipped ViT. Both run in one
 * process, in turns, so that a slow minute of the machine slows both; a figure is the median of the rounds' ratios.
 * Then come four times as many clients as the service takes requests at once.
 *
 *   npm run build && node bench/service.mjs [--seconds 60] [--rounds 6] [--clients 64] [--overload 20]
 *       [--model vit-tiny-shapes] [--query method=attention-rollout] [--accept application/x-npy] [--json FILE]
 *
 * Where the load generator shares its processors with the service, the clock charges the service for both. Processor
 * time for each request, of the service's process alone, is given beside it.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';

import autocannon from 'autocannon';

import { median, percentile } from '../dist/bench/statistics.js';
import { PHOTOS } from './service/photos.mjs';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    rounds: { type: 'string', default: '6' },
    clients: { type: 'string', default: '64' },
    overload: { type: 'string', default: '20' },
    model: { type: 'string', default: 'vit-tiny-shapes' },
    query: { type: 'string', default: 'method=attention-rollout' },
    accept: { type: 'string', default: 'application/x-npy' },
    json: { type: 'string' },
  },
});
const [rounds, clients] = [Number(values.rounds), Number(values.clients)];
const seconds = Number(values.seconds) / rounds;
/** How often the overloaded service is looked at, in milliseconds. */
const LOOK = 250;
const TIMES = 4;

const child = fork(new URL('service/served.mjs', import.meta.url), [values.model, values.query, String(clients)]);
/** @param {object} question @returns {Promise<any>} */
async function ask(question) {
  child.send(question);
  const [answer] = await once(child, 'message');
  return answer;
}
const [{ url }] = /** @type {[{ url: string }]} */ (await once(child, 'message'));
const target = `/explain?${values.query}`;
const bodies = PHOTOS.map((file) => readFileSync(file));
const headers = { 'content-type': 'image/jpeg', accept: values.accept };

/**
 * autocannon makes a text of each body, also of one that nobody reads: a quarter of a processor for maps of 200 kB. The
 * clock would charge the service for it. Bodies are still received.
 *
 * @param {any} client
 */
const dropBodies = (client) => {
  client.pipelinedRequests.addBody = () => {};
};

/** As many requests as the engine answered, so that none is cut off. @param {number} amount */
async function load(amount) {
  /** @type {Record<number, number>} */
  const statuses = {};
  /** @type {number[]} */
  const times = [];
  const before = await ask({ usage: true });
  const started = performance.now();
  const run = autocannon({
    url,
    connections: clients,
    amount,
    // What is asked for is answered at the machine's pace.
    timeout: 600,
    setupClient: dropBodies,
    requests: bodies.map((body) => ({ method: 'POST', path: target, headers, body })),
  });
  run.on('response', (_client, status, _bytes, milliseconds) => {
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (status === 200) times.push(milliseconds);
  });
  const { errors, timeouts } = await run;
  const elapsed = (performance.now() - started) / 1000;
  const after = await ask({ usage: true });
  const good = statuses[200] ?? 0;
  return {
    statuses,
    errors: errors + timeouts,
    times,
    perSecond: good / elapsed,
    processorSeconds: (after.processorSeconds - before.processorSeconds) / good,
    meanBatch: good / (after.batches - before.batches),
  };
}

const engine = (/** @type {number} */ duration) => ask({ engine: { callers: clients, seconds: duration } });
const inMiB = (/** @type {number} */ bytes) => Math.round(bytes / 2 ** 20);
const round = (/** @type {number} */ value, digits = 2) => Number(value.toFixed(digits));

// Programs are built and caches filled.
await load((await engine(3)).requests);

const taken = [];
for (let i = 0; i < rounds; i++) {
  const { batches } = await ask({ usage: true });
  const alone = await engine(seconds);
  alone.meanBatch = alone.requests / ((await ask({ usage: true })).batches - batches);
  const served = await load(alone.requests);
  taken.push({ alone, served });
  console.error(
    `round ${i + 1}: engine ${round(alone.perSecond, 1)}/s, service ${round(served.perSecond, 1)}/s, ` +
      `processor ${round(alone.processorSeconds * 1000, 1)} and ${round(served.processorSeconds * 1000, 1)} ms, ` +
      `batches of ${round(alone.meanBatch, 1)} and ${round(served.meanBatch, 1)}`,
  );
}
const times = taken.flatMap(({ served }) => served.times);

/** Whether the service is flat under four times its load, and soon well after it. */
async function overload() {
  const before = await ask({ usage: true });
  /** @type {number[]} */
  const resident = [];
  let isOn = true;
  const looking = (async () => {
    while (isOn) {
      resident.push((await ask({ usage: true })).residentBytes);
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
  })();
  const run = autocannon({
    url,
    connections: TIMES * clients,
    duration: Number(values.overload),
    timeout: 600,
    setupClient: dropBodies,
    requests: bodies.map((body) => ({ method: 'POST', path: target, headers, body })),
  });
  /** @type {Record<number, number>} */
  const statuses = {};
  /** @type {number[]} */
  const refusals = [];
  run.on('response', (_client, status, _bytes, milliseconds) => {
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (status === 503) refusals.push(milliseconds);
  });
  const { errors, timeouts } = await run;
  isOn = false;
  const ended = performance.now();
  await looking;
  /** @type {number | null} */
  let recovered = null;
  while (recovered === null) {
    const answer = await fetch(`${url}${target}`, { method: 'POST', headers, body: new Uint8Array(bodies[0]) });
    await answer.arrayBuffer();
    if (answer.status === 200) recovered = (performance.now() - ended) / 1000;
  }
  const quarter = Math.max(1, Math.floor(resident.length / 4));
  return {
    connections: TIMES * clients,
    statuses,
    errors: errors + timeouts,
    perSecond: round((statuses[200] ?? 0) / Number(values.overload), 1),
    refusedInMilliseconds: refusals.length === 0 ? null : { p50: median(refusals), p99: percentile(refusals, 0.99) },
    residentMiB: {
      before: inMiB(before.residentBytes),
      firstQuarter: inMiB(median(resident.slice(0, quarter))),
      lastQuarter: inMiB(median(resident.slice(-quarter))),
      most: inMiB(Math.max(...resident)),
    },
    recoveredInSeconds: round(recovered),
  };
}

const report = {
  machine: {
    processor: os.cpus()[0]?.model,
    processors: os.cpus().length,
    load: os.loadavg().map((each) => round(each)),
  },
  model: values.model,
  query: values.query,
  accept: values.accept,
  clients,
  rounds: taken.map(({ alone, served: { times: _, ...served } }) => ({ alone, served })),
  requests: times.length,
  errors: taken.reduce((sum, { served }) => sum + served.errors, 0),
  otherThan200: taken.reduce(
    (sum, { served }) =>
      sum + Object.values(served.statuses).reduce((all, count) => all + count, 0) - (served.statuses[200] ?? 0),
    0,
  ),
  throughputOfEngine: round(median(taken.map(({ alone, served }) => served.perSecond / alone.perSecond)), 3),
  processorTimeOfEngine: round(
    median(taken.map(({ alone, served }) => served.processorSeconds / alone.processorSeconds)),
    3,
  ),
  milliseconds: { p50: percentile(times, 0.5), p99: percentile(times, 0.99) },
  p99OverP50: round(percentile(times, 0.99) / percentile(times, 0.5)),
  overload: Number(values.overload) > 0 ? await overload() : null,
  loadAtEnd: os.loadavg().map((each) => round(each)),
};
child.disconnect();
const text = JSON.stringify(report, null, 2);
if (values.json !== undefined) writeFileSync(values.json, `${text}\n`);
console.log(text);
