import { once } from 'node:events';
import http from 'node:http';

import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { Model, stats } from '../../lib/index.js';
import type { ServiceOptions } from '../../lib/service/http.js';
import { engineIdle, load, photo, post, postJson, serve, type Served, until } from './support.js';

let model: Model;
const cat = photo('cat.jpg');
const jpeg = { 'content-type': 'image/jpeg' };
/** Thousands of runs of the model. */
const LONG = '/explain?method=rise&masks=100000';
const limits = { maxSamples: 1_000_000 };

beforeAll(async () => {
  model = await load('vit-tiny-shapes');
});
afterAll(() => model.close());

async function served(options: Partial<ServiceOptions> = {}): Promise<Served> {
  const made = await serve({ models: { vit: model }, ...options });
  onTestFinished(made.stop);
  return made;
}

async function refusal(response: Response): Promise<[number, string, string]> {
  const { code, error } = (await response.json()) as { code: string; error: string };
  return [response.status, code, error];
}

describe('limits', () => {
  it('refuses a body that is too large, whether its length is told or not', async () => {
    const { address } = await served({ limits: { maxBodyBytes: 1000 } });
    const expected = [413, 'BODY_TOO_LARGE', expect.stringContaining('1,000 bytes')];
    expect(await refusal(await post(`${address}/explain`, Buffer.alloc(1001), jpeg))).toEqual(expected);
    const request = http.request(`${address}/explain`, { method: 'POST', headers: jpeg });
    request.write(Buffer.alloc(800));
    request.write(Buffer.alloc(800));
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    expect(response.statusCode).toBe(413);
    request.destroy();
    const [status, code] = await refusal(await post(`${address}/explain`, Buffer.alloc(1000), jpeg));
    expect([status, code]).toEqual([400, 'INVALID_IMAGE']);
  });

  it('refuses a picture of too many pixels before it is decoded', async () => {
    const { address } = await served({ limits: { maxPixels: 10_000 } });
    // Cut short: were it decoded, that would be the fault.
    const large = await sharp({ create: { width: 101, height: 100, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    const response = await post(`${address}/explain`, large.subarray(0, 80), jpeg);
    expect(await refusal(response)).toEqual([413, 'INVALID_IMAGE', expect.stringContaining('10,000')]);
    const predicted = await postJson(`${address}/v1/models/vit:predict`, {
      instances: [{ b64: large.toString('base64') }],
    });
    expect(predicted.status).toBe(413);
    const small = await sharp({ create: { width: 100, height: 100, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    expect((await post(`${address}/explain`, small, jpeg)).status).toBe(200);
    const asked = await post(`${address}/explain?maxPixels=1000000`, large, jpeg);
    expect(asked.status).toBe(413);
  });

  it.each([
    ['?target=top17', '17 targets'],
    ['?target=top9&target=top-9', '18 targets'],
    ['?method=smooth-grad&samples=101', '101 samples'],
    ['?method=integrated-gradients&steps=101', '101 steps'],
    ['?method=rise&masks=101', '101 masks'],
    ['?method=rise', '4,000 masks'],
    ['?method=occlusion&stride=2', 'windows'],
    ['?method=smooth-grad&memory=2000000000', '2,000,000,000 bytes'],
    [`?method=grad-cam${'&layer=a'.repeat(9)}`, '9 layers'],
  ])('refuses %s', async (query, what) => {
    const { address } = await served({ limits: { maxSamples: 100 } });
    const response = await post(`${address}/explain${query}`, cat, jpeg);
    expect(await refusal(response)).toEqual([422, 'LIMIT_EXCEEDED', expect.stringContaining(what)]);
  });

  it('refuses more images than one request may have, and methods that are not offered', async () => {
    const { address } = await served({ limits: { maxImages: 2 }, methods: ['gae'] });
    const instances = Array.from({ length: 3 }, () => ({ b64: cat.toString('base64') }));
    const many = await postJson(`${address}/v1/models/vit:predict`, { instances });
    expect(await refusal(many)).toEqual([422, 'LIMIT_EXCEEDED', expect.stringContaining('3 images')]);
    const method = await post(`${address}/explain?method=rise`, cat, jpeg);
    expect(await refusal(method)).toEqual([400, 'INVALID_OPTION', expect.stringContaining('it has gae')]);
  });

  it('asks for a token, but not to tell of its health', async () => {
    const token = ['a-token-of-20-letters', 'the-next-token-of-it'];
    const { address } = await served({ token });
    const refused = await fetch(`${address}/v1/models`);
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
    const status = async (authorization: string): Promise<number> =>
      (await post(`${address}/explain`, cat, { ...jpeg, authorization })).status;
    expect(await status('Bearer another-token-of-it')).toBe(401);
    expect(await status('Bearer ')).toBe(401);
    for (const each of token) expect(await status(`Bearer ${each}`)).toBe(200);
    expect((await fetch(`${address}/v2/health/ready`)).status).toBe(200);
    expect((await fetch(`${address}/metrics`)).status).toBe(401);
  });
});

describe('a deadline', () => {
  it('ends a request by the header, and the work behind it', async () => {
    const { address, service } = await served({ limits });
    const response = await post(`${address}${LONG}`, cat, { ...jpeg, 'x-deadline-ms': '200' });
    expect(await refusal(response)).toEqual([504, 'DEADLINE_EXCEEDED', expect.stringContaining('200 ms')]);
    await until(() => service.health().inFlight === 0);
  });

  it('ends a request whose body does not come', async () => {
    const { address, service } = await served({ deadline: 200 });
    const request = http.request(`${address}/explain`, { method: 'POST', headers: { ...jpeg, 'content-length': 100 } });
    request.write('x');
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    expect([response.statusCode, response.headers.connection]).toEqual([504, 'close']);
    request.destroy();
    await until(() => service.health().inFlight === 0);
  });
});

it('a client that goes away ends its work in the engine', async () => {
  const { address, service } = await served({ limits });
  await engineIdle();
  const before = stats();
  const client = new AbortController();
  const answer = fetch(`${address}${LONG}`, {
    method: 'POST',
    headers: jpeg,
    body: new Uint8Array(cat),
    signal: client.signal,
  });
  await until(() => stats().running > 0);
  client.abort();
  await expect(answer).rejects.toThrow();
  await until(() => service.health().inFlight === 0);
  // The request is given up at once; the engine counts its work when it leaves it, up to a step later.
  await engineIdle();
  const { completed, failed } = stats();
  expect([completed - before.completed, failed - before.failed]).toEqual([0, 1]);
  // And nobody else's.
  expect((await post(`${address}/explain`, cat, jpeg)).status).toBe(200);
});

describe('overload', () => {
  it('is answered at once, before the body was sent', async () => {
    const { address, service } = await served({ limits: { maxRequests: 1 }, retryAfter: 7 });
    const slow = http.request(`${address}/explain`, {
      method: 'POST',
      headers: { ...jpeg, 'content-length': cat.length },
    });
    slow.write(cat.subarray(0, 10));
    await until(() => service.health().inFlight === 1);
    expect(((await (await fetch(`${address}/health`)).json()) as { state: string }).state).toBe('overloaded');
    expect((await fetch(`${address}/v2/health/ready`)).status).toBe(503);

    const next = http.request(`${address}/explain`, {
      method: 'POST',
      headers: { ...jpeg, 'content-length': cat.length },
    });
    next.flushHeaders();
    const [refused] = (await once(next, 'response')) as [http.IncomingMessage];
    expect([refused.statusCode, refused.headers['retry-after']]).toEqual([503, '7']);
    next.destroy();

    slow.end(cat.subarray(10));
    const [response] = (await once(slow, 'response')) as [http.IncomingMessage];
    expect(response.statusCode).toBe(200);
    response.resume();
    await until(() => service.health().state === 'ready');
  });

  it('of the queue is told before a picture is decoded', async () => {
    const narrow = await Model.load('vit-tiny-shapes', { device: 'cpu', maxQueue: 1, maxBatch: 1 });
    onTestFinished(() => narrow.close());
    const { address } = await served({ models: { narrow }, limits });
    const client = new AbortController();
    const request = (): Promise<unknown> =>
      fetch(`${address}${LONG}`, {
        method: 'POST',
        headers: jpeg,
        body: new Uint8Array(cat),
        signal: client.signal,
      }).catch(() => null);
    await engineIdle();
    const running = request();
    await until(() => stats().running > 0);
    const waiting = request();
    await until(() => stats().queued > 0);
    const response = await post(`${address}/explain`, Buffer.from('no picture at all'), jpeg);
    expect(response.headers.get('retry-after')).toBe('1');
    expect((await refusal(response)).slice(0, 2)).toEqual([503, 'QUEUE_FULL']);
    client.abort();
    await Promise.all([running, waiting]);
  });
});

describe('loading', () => {
  it('is told by health, and a request for the model is refused until then', async () => {
    let finish = (_: Model): void => undefined;
    const loading = new Promise<Model>((resolve) => (finish = resolve));
    const { address, service } = await served({ models: { vit: model, late: loading } });
    const health = async (): Promise<unknown> => (await fetch(`${address}/health`)).json();
    expect(await health()).toMatchObject({ state: 'loading', models: { vit: true, late: false } });
    const refused = await post(`${address}/explain?model=late`, cat, jpeg);
    expect((await refusal(refused)).slice(0, 2)).toEqual([503, 'NOT_READY']);
    expect((await fetch(`${address}/v1/models/late`)).status).toBe(503);
    expect((await post(`${address}/explain?model=vit`, cat, jpeg)).status).toBe(200);
    finish(model);
    await service.ready();
    expect(await health()).toMatchObject({ state: 'ready' });
  });
});

it('tells what it did to Prometheus and to its logger', async () => {
  const lines: Record<string, unknown>[] = [];
  const logger = { info: (fields: object) => lines.push({ ...fields }), error: () => expect.unreachable() };
  const { address } = await served({ logger });
  await post(`${address}/explain`, cat, jpeg);
  await post(`${address}/explain`, Buffer.from('none'), jpeg);
  await postJson(`${address}/v1/models/vit:predict`, { instances: [{ b64: cat.toString('base64') }] });
  expect(lines.map(({ route, status, code }) => [route, status, code])).toEqual([
    ['explain', 200, null],
    ['explain', 400, 'INVALID_IMAGE'],
    ['v1Predict', 200, null],
  ]);
  const response = await fetch(`${address}/metrics`);
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  for (const line of [
    'sightline_requests_total{route="explain",status="200"} 1',
    'sightline_requests_total{route="explain",status="400"} 1',
    'sightline_errors_total{code="INVALID_IMAGE"} 1',
    'request_explain_seconds_count{model_name="vit"} 2',
    'request_predict_seconds_count{model_name="vit"} 1',
    'sightline_requests_in_flight 0',
    'sightline_images_queued 0',
  ]) {
    expect(text.split('\n')).toContain(line);
  }
});
