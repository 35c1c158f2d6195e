import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model } from '../../lib/index.js';
import { asJson, load, photo, postJson, serve, type Served } from './support.js';

let vit: Model;
let resnet: Model;
let served: Served;
const cat = photo('cat.jpg');
const coffee = photo('coffee.jpg');
const b64 = (bytes: Buffer): { b64: string } => ({ b64: bytes.toString('base64') });

beforeAll(async () => {
  [vit, resnet] = await Promise.all([load('vit-tiny-shapes'), load('resnet-tiny-shapes')]);
  served = await serve({ models: { vit, resnet } });
});
afterAll(async () => {
  await served.stop();
  await Promise.all([vit.close(), resnet.close()]);
});
const at = (path: string): string => `${served.address}${path}`;
const get = async (path: string): Promise<unknown> => (await fetch(at(path))).json();

describe('protocol V1', () => {
  it('says that it is alive, and which models there are', async () => {
    expect(await get('/')).toEqual({ status: 'alive' });
    expect(await get('/v1/models')).toEqual({ models: ['vit', 'resnet'] });
    expect(await get('/v1/models/vit')).toEqual({ name: 'vit', ready: true });
  });

  it('predicts what the library predicts, one list for each instance', async () => {
    const response = await postJson(at('/v1/models/resnet:predict'), { instances: [b64(cat), b64(coffee)], top: 3 });
    expect(response.status).toBe(200);
    const expected = await resnet.predict([cat, coffee], { top: 3 });
    expect(await response.json()).toEqual({ predictions: asJson(expected.map(({ predictions }) => predictions)) });
    expect(expected[0]!.predictions).not.toEqual(expected[1]!.predictions);
  });

  it('explains by the method and options beside the instances, value for value', async () => {
    const options = { method: 'gradient-rollout', targets: ['top2'], size: 'grid', discardRatio: 0.8 } as const;
    const response = await postJson(at('/v1/models/vit:explain'), { instances: [b64(cat), b64(coffee)], ...options });
    expect(response.status).toBe(200);
    const body = (await response.json()) as {
      predictions: unknown[];
      explanations: { method: string; options: { discardRatio: number }; maps: Record<string, unknown>[] }[];
    };
    const expected = await vit.explain([cat, coffee], options);
    expect(body.predictions).toEqual(asJson(expected.map(({ predictions }) => predictions)));
    expect(body.explanations.map(({ method, options }) => [method, options.discardRatio])).toEqual([
      ['gradient-rollout', 0.8],
      ['gradient-rollout', 0.8],
    ]);
    expected.forEach(({ maps }, image) =>
      maps.forEach(({ data, shape, target, min, max }, i) =>
        expect(body.explanations[image]!.maps[i]).toMatchObject(
          asJson({ data: Array.from(data), shape, target, min, max, datatype: 'FP32', state: 'ok' }) as object,
        ),
      ),
    );
    expect(body.explanations[0]!.maps).toHaveLength(2);
  });

  it('takes the model input as nested lists, and gives maps as base64 where asked to', async () => {
    const { height, width } = resnet.card.input;
    const plane = height * width;
    const data = Float32Array.from({ length: 3 * plane }, (_, i) => Math.fround(Math.sin(i / 50)));
    const rows = (channel: number): number[][] =>
      Array.from({ length: height }, (_, y) =>
        Array.from(data.subarray(channel * plane + y * width, channel * plane + (y + 1) * width)),
      );
    const response = await postJson(at('/v1/models/resnet:explain'), {
      instances: [[rows(0), rows(1), rows(2)]],
      parameters: { method: 'grad-cam' },
      encoding: 'base64',
    });
    const { explanations } = (await response.json()) as { explanations: { maps: { b64: string; data?: unknown }[] }[] };
    const [expected] = await resnet.explain([{ data, shape: [1, 3, height, width] }], { method: 'grad-cam' });
    const bytes = Buffer.from(explanations[0]!.maps[0]!.b64, 'base64');
    expect(new Float32Array(new Uint8Array(bytes).buffer)).toEqual(expected!.maps[0]!.data);
    expect(explanations[0]!.maps[0]).not.toHaveProperty('data');
  });

  it('takes the colon of a verb also as %3A, as Python clients write it', async () => {
    const response = await postJson(at('/v1/models/resnet%3Apredict'), { instances: [b64(cat)] });
    expect(response.status).toBe(200);
  });

  it.each([
    ['no list', { instances: 'x' }, 400, 'INVALID_REQUEST', 'Expected "instances" to be a list.'],
    ['none', { instances: [] }, 400, 'INVALID_REQUEST', 'is empty'],
    ['a path', { instances: ['/etc/passwd'] }, 400, 'INVALID_REQUEST', 'instances[0]'],
    [
      'a path as bytes',
      { instances: [{ b64: '/etc/passwd.' }] },
      400,
      'INVALID_REQUEST',
      'paths and URLs are not read',
    ],
    ['a URL', { instances: [{ b64: 'http://x/y.png' }] }, 400, 'INVALID_REQUEST', 'paths and URLs are not read'],
    ['no picture', { instances: [{ b64: 'AAAA' }] }, 400, 'INVALID_IMAGE', 'not an image'],
    ['a wrong tensor', { instances: [[[1, 2]]] }, 400, 'INVALID_REQUEST', 'shape [3, '],
    ['an unknown method', { instances: [b64(cat)], method: 'grad-cmm' }, 400, 'INVALID_OPTION', 'grad-cam'],
    ['a method that is a list', { instances: [b64(cat)], method: ['cam'] }, 400, 'INVALID_OPTION', 'by its name'],
    ['an unknown option', { instances: [b64(cat)], method: 'cam', nope: 1 }, 400, 'INVALID_OPTION', 'nope'],
    ['a signal', { instances: [b64(cat)], method: 'cam', signal: {} }, 400, 'INVALID_OPTION', 'signal'],
    ['an unknown class', { instances: [b64(cat)], targets: [99] }, 400, 'UNKNOWN_TARGET', '99'],
    ['an unfit method', { instances: [b64(cat)], method: 'attention-rollout' }, 422, 'METHOD_NOT_APPLICABLE', ''],
  ])('refuses %s', async (_name, body, status, code, sentence) => {
    const response = await postJson(at('/v1/models/resnet:explain'), body);
    expect([response.status, await response.json()]).toEqual([
      status,
      { code, error: expect.stringContaining(sentence) as string },
    ]);
  });

  it.each([
    ['/v1/models/other', 'GET', 404, 'NOT_FOUND'],
    ['/v1/models/other:predict', 'POST', 404, 'NOT_FOUND'],
    ['/v1/models/vit:train', 'POST', 404, 'NOT_FOUND'],
    ['/v1/models/%ZZ', 'GET', 404, 'NOT_FOUND'],
    ['/v1/models/vit:predict', 'GET', 405, 'METHOD_NOT_ALLOWED'],
    ['/v1/models', 'DELETE', 405, 'METHOD_NOT_ALLOWED'],
    ['/etc/passwd', 'GET', 404, 'NOT_FOUND'],
  ])('%s by %s is %i', async (path, method, status, code) => {
    const response = await fetch(at(path), { method, ...(method === 'POST' && { body: '{"instances":[1]}' }) });
    expect([response.status, await response.json()]).toMatchObject([status, { code }]);
    if (status === 405) expect(response.headers.get('allow')).toMatch(/^(GET, HEAD|POST)$/);
  });

  it('sends no header that would open it to pages of others', async () => {
    const response = await fetch(at('/v1/models'), { headers: { origin: 'https://example.org' } });
    expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
    expect((await fetch(at('/explain'), { method: 'OPTIONS' })).status).toBe(405);
  });
});
