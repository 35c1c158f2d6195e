import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

import express from 'express';
import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import type { Model } from '../../lib/index.js';
import sightline from '../../lib/service/fastify.js';
import { createService, nodeHandler } from '../../lib/service/http.js';
import { stats } from '../../lib/index.js';
import { asJson, engineIdle, HOUR, load, photo, post, postJson, until } from './support.js';

let model: Model;
const cat = photo('cat.jpg');
const jpeg = { 'content-type': 'image/jpeg' };
beforeAll(async () => {
  model = await load('resnet-tiny-shapes');
});
afterAll(() => model.close());

const mapOf = async (response: Response): Promise<unknown> =>
  ((await response.json()) as { maps: { data: unknown }[] }).maps[0]!.data;
const expected = async (): Promise<unknown> => {
  const [explanation] = await model.explain([cat], { size: 'grid' });
  return asJson(Array.from(explanation!.maps[0]!.data));
};

describe('sightline/fastify', () => {
  it('adds every route below its prefix, and leaves the parsers of the app alone', async () => {
    const app = Fastify();
    await app.register(sightline, { models: { resnet: model }, prefix: '/vision' });
    app.post('/own', (request) => request.body);
    const address = await app.listen({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => app.close());
    expect(app.sightline.health()).toMatchObject({ state: 'ready', models: { resnet: true } });
    expect(await mapOf(await post(`${address}/vision/explain?size=grid`, cat, jpeg))).toEqual(await expected());
    const instances = [{ b64: cat.toString('base64') }];
    const predicted = await postJson(`${address}/vision/v1/models/resnet:predict`, { instances });
    const [direct] = await model.predict([cat]);
    expect(await predicted.json()).toEqual({ predictions: [asJson(direct!.predictions)] });
    expect((await postJson(`${address}/vision/v1/models/resnet:explain`, { instances })).status).toBe(200);
    expect((await postJson(`${address}/vision/v1/models/resnet:train`, { instances })).status).toBe(404);
    expect(await (await fetch(`${address}/vision`)).json()).toEqual({ status: 'alive' });
    expect(await (await fetch(`${address}/vision/v2/models/resnet/ready`)).json()).toEqual({
      name: 'resnet',
      ready: true,
    });
    expect(await (await postJson(`${address}/own`, { a: 1 })).json()).toEqual({ a: 1 });
  });

  it('ends the work of a client that goes away', async () => {
    const app = Fastify();
    await app.register(sightline, { models: { resnet: model }, limits: { maxSamples: 1_000_000 } });
    const address = await app.listen({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => app.close());
    await engineIdle();
    const { failed } = stats();
    const client = new AbortController();
    const body = new Uint8Array(cat);
    const url = `${address}/explain?method=rise&masks=100000`;
    const answer = fetch(url, { method: 'POST', headers: jpeg, body, signal: client.signal });
    await until(() => stats().running > 0);
    client.abort();
    await expect(answer).rejects.toThrow();
    await until(() => app.sightline.health().inFlight === 0);
    // The request is given up at once; the engine counts its work when it leaves it, up to a step later.
    await engineIdle();
    expect(stats().failed - failed).toBe(1);
  });

  it('loads models by name, and closes them with the app', async () => {
    const app = Fastify();
    const { models } = stats();
    await app.register(sightline, { models: { vit: 'vit-tiny-shapes' }, load: { device: 'cpu' } });
    await app.ready();
    await app.sightline.ready();
    expect(stats().models).toBe(models + 1);
    const { statusCode } = await app.inject({ method: 'POST', url: '/explain', headers: jpeg, payload: cat });
    expect(statusCode).toBe(200);
    await app.close();
    expect(stats().models).toBe(models);
  });
});

describe('nodeHandler in Express', () => {
  const listen = async (app: express.Express): Promise<string> => {
    const server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };

  it('answers below the path that it is mounted at', async () => {
    const app = express();
    app.use('/vision', nodeHandler(createService({ models: { resnet: model } })));
    const address = await listen(app);
    expect(await mapOf(await post(`${address}/vision/explain?size=grid`, cat, jpeg))).toEqual(await expected());
    expect(await (await fetch(`${address}/vision/v1/models`)).json()).toEqual({ models: ['resnet'] });
  });

  it('says in its log that a parser came before it', async () => {
    const told: unknown[] = [];
    const app = express();
    app.use(express.json());
    const logger = {
      info: () => undefined,
      error: (fields: object) => told.push((fields as { err: Error }).err.message),
    };
    app.use(nodeHandler(createService({ models: { resnet: model }, logger })));
    const response = await postJson(`${await listen(app)}/v1/models/resnet:predict`, { instances: [] });
    expect([response.status, await response.json()]).toEqual([
      500,
      { code: 'INTERNAL', error: 'The request failed within the service; its log says why.' },
    ]);
    expect(told).toEqual([expect.stringContaining('before express.json()')]);
  });
});

it('closes what it loaded and nothing else, and answers what is in flight', async () => {
  const { models } = stats();
  const service = createService({
    models: { own: 'vit-tiny-shapes', given: model },
    load: { device: 'cpu' },
    deadline: HOUR,
  });
  await service.ready();
  await engineIdle();
  const request = new Request('http://x/explain?model=own&method=rise&masks=4000', {
    method: 'POST',
    headers: jpeg,
    body: new Uint8Array(cat),
  });
  const answer = service.fetch(request);
  await until(() => stats().running > 0);
  const closing = service.close();
  expect(service.health().state).toBe('closing');
  const response = await answer;
  expect([response.status, response.headers.get('connection')]).toEqual([200, 'close']);
  expect(await closing).toBe(0);
  expect(stats().models).toBe(models);
  expect((await model.predict([cat])).length).toBe(1);
});

it('aborts what outlasts the deadline of its close', async () => {
  await engineIdle();
  const service = createService({ models: { resnet: model }, limits: { maxSamples: 1_000_000 } });
  const request = new Request('http://x/explain?method=rise&masks=100000', {
    method: 'POST',
    headers: jpeg,
    body: new Uint8Array(cat),
  });
  const answer = service.fetch(request);
  await until(() => stats().running > 0);
  expect(await service.close(50)).toBe(1);
  const response = await answer;
  expect([response.status, await response.json()]).toMatchObject([503, { code: 'CLOSING' }]);
});

it('says that a model was closed by its owner amid the work', async () => {
  await engineIdle();
  const own = await load('resnet-tiny-shapes');
  const service = createService({ models: { own }, limits: { maxSamples: 1_000_000 }, deadline: HOUR });
  const request = new Request('http://x/explain?method=rise&masks=100000', {
    method: 'POST',
    headers: jpeg,
    body: new Uint8Array(cat),
  });
  const answer = service.fetch(request);
  await until(() => stats().running > 0);
  await own.close({ timeout: 0 });
  const response = await answer;
  expect([response.status, await response.json()]).toMatchObject([503, { code: 'MODEL_CLOSED' }]);
});
