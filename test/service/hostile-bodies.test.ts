import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { stats, type Model } from '../../lib/index.js';
import type { ServiceOptions } from '../../lib/service/http.js';
import { serveStrictly, type Strict } from './strict-service.js';
import { load, photo, post, postJson, until } from './support.js';

const cat = photo('cat.jpg');
const b64 = cat.toString('base64');
const jpeg = { 'content-type': 'image/jpeg' };
const json = { 'content-type': 'application/json' };
let models: Record<'resnet' | 'vit', Model>;
const served = (options: Partial<ServiceOptions> = {}): Promise<Strict> => serveStrictly({ models, ...options });

beforeAll(async () => {
  const [resnet, vit] = await Promise.all([load('resnet-tiny-shapes'), load('vit-tiny-shapes')]);
  models = { resnet, vit };
});
afterAll(() => Promise.all(Object.values(models).map((model) => model.close())));

type Refusal = readonly [status: number, code: string];
const REQUEST: Refusal = [400, 'INVALID_REQUEST'];
const OPTION: Refusal = [400, 'INVALID_OPTION'];
const TARGET: Refusal = [400, 'UNKNOWN_TARGET'];
const LIMIT: Refusal = [422, 'LIMIT_EXCEEDED'];
const MEDIA: Refusal = [415, 'UNSUPPORTED_MEDIA_TYPE'];

/** Asks, and looks whether it is refused so, by a sentence, and nothing is left of it. */
async function expectRefusal(
  path: string,
  body: Uint8Array | string,
  headers: Record<string, string>,
  refusal: Refusal,
): Promise<void> {
  const { address, service } = await served();
  const response = await post(`${address}${path}`, Buffer.from(body), headers);
  const { code, error } = (await response.json()) as { code: string; error: string };
  expect([response.status, code, error]).toEqual([...refusal, expect.any(String)]);
  // And not what was sent.
  expect(error.length).toBeLessThan(1000);
  expect(service.health()).toMatchObject({ state: 'ready', inFlight: 0 });
}

const PART = 'content-disposition: form-data; name="image"; filename="a.jpg"\ncontent-type: image/jpeg\n\n';
const TEXT_PART = 'content-disposition: form-data; name="image"\n\n';
const field = (name: string): string => `--B\ncontent-disposition: form-data; name="${name}"\n\n1\n`;
const withFields = (count: number, name: (i: number) => string): string =>
  `--B\n${PART}x\n${Array.from({ length: count }, (_, i) => field(name(i))).join('')}--B--\n`;

it.each<[string, string, Refusal]>([
  ['with another boundary', `--C\n${PART}x\n--C--\n`, REQUEST],
  ['without an end', `--B\n${PART}x`, REQUEST],
  ['without a part', '--B--\n', REQUEST],
  ['of a part without a head', '--B\n\nx\n--B--\n', REQUEST],
  ['of a part without a name', '--B\ncontent-disposition: form-data\n\nx\n--B--\n', REQUEST],
  ['whose picture is a text', `--B\n${TEXT_PART}x\n--B--\n`, REQUEST],
  ['of two pictures', `--B\n${PART}x\n--B\n${PART}x\n--B--\n`, REQUEST],
  ['with a field twice', withFields(2, () => 'size'), REQUEST],
  ['with 900 targets', withFields(900, () => 'target'), LIMIT],
  ['with 20,000 targets', withFields(20_000, () => 'target'), REQUEST],
  ['with 20,000 fields', withFields(20_000, (i) => `f${i}`), REQUEST],
  ['with a field called __proto__', withFields(1, () => '__proto__'), OPTION],
])('a form %s is refused', (_name, text, refusal) =>
  expectRefusal(
    '/explain',
    text.replaceAll('\n', '\r\n'),
    { 'content-type': 'multipart/form-data; boundary=B' },
    refusal,
  ),
);

it.each<[string, Refusal]>([
  ['__proto__={"method":"rise"}', OPTION],
  ['target=1&targets=["top1"]', REQUEST],
  ['target=99999999999999999999', TARGET],
  ['target=-9007199254740993', TARGET],
  ['target=constructor', TARGET],
  ['target=top1000000000', LIMIT],
  ['target=top99999999999999999999', LIMIT],
  ['method=constructor', OPTION],
  ['method=__proto__', OPTION],
  ['model=constructor', [404, 'NOT_FOUND']],
  ['output=constructor', OPTION],
  ['opacity=2', OPTION],
])('a query of %s is refused', (query, refusal) => expectRefusal(`/explain?${query}`, cat, jpeg, refusal));

/** 200,000 lists, one within the other. */
const DEEP = '['.repeat(200_000) + ']'.repeat(200_000);

it.each<[string, string, Refusal]>([
  ['__proto__', '"__proto__":{"method":"rise"}', OPTION],
  ['NaN', '"opacity":NaN', REQUEST],
  ['a number beyond all', '"top":1e999', OPTION],
  ['targets without an end', `"targets":${DEEP}`, OPTION],
  ['an encoding without an end', `"encoding":${DEEP}`, OPTION],
  ['half a target', '"targets":[0.5]', TARGET],
  ['a target of 1e308', '"targets":[1e308]', TARGET],
  ['an output that is an object', '"output":{}', OPTION],
  ['a signal', '"signal":{}', OPTION],
  ['a client', '"client":"other"', OPTION],
  ['a score that is code', '"score":"() => process.exit()"', OPTION],
])('JSON with %s is refused', (_name, field, refusal) =>
  expectRefusal('/explain', `{"image":{"b64":"${b64}"},"model":"vit",${field}}`, json, refusal),
);

const V2 = '/v2/models/vit/infer';
const V1 = '/v1/models/vit:explain';
const tensor = (values: string): string =>
  `{"inputs":[{"name":"input","shape":[1,3,224,224],"datatype":"FP32","data":${values}}]}`;
const image = (more: string, rest = ''): string => `{"inputs":[{"name":"image","datatype":"BYTES",${more}}]${rest}}`;
const ONE = `"shape":[1],"data":["${b64}"]`;
const FLOATS = JSON.stringify(Array(3 * 224 * 224).fill(0)).replace('0', '1e39');

it.each<[string, string, string, Refusal]>([
  ['instances without an end', V1, `{"instances":${DEEP}}`, REQUEST],
  ['parameters beside and within', V1, `{"instances":[{"b64":"${b64}"}],"top":1,"parameters":{"top":2}}`, REQUEST],
  ['parameters that are a list', V1, `{"instances":[{"b64":"${b64}"}],"parameters":[1]}`, REQUEST],
  ['a tensor without an end', V2, tensor(DEEP), REQUEST],
  ['infinite values', V2, tensor(FLOATS), [400, 'INVALID_INPUT']],
  ['a million images', V2, image('"shape":[1000000],"data":[]'), REQUEST],
  ['a shape beyond all', V2, image('"shape":[1,9007199254740991,9007199254740991],"data":["AAAA"]'), REQUEST],
  ['an id that is no text', V2, image(ONE, ',"id":5'), REQUEST],
  ['a word for a truth value', V2, image(ONE, ',"parameters":{"binary_data_output":"yes"}'), REQUEST],
  ['the same of one output', V2, image(ONE, ',"outputs":[{"name":"logits","parameters":{"binary_data":1}}]'), REQUEST],
  ['a picture that is a path', '/explain', '{"image":{"b64":"/etc/passwd."}}', REQUEST],
  ['an option in query and body', '/explain?size=grid', `{"image":{"b64":"${b64}"},"size":"image"}`, REQUEST],
  ['a list for an object', '/explain', '[]', REQUEST],
])('%s is refused', (_name, path, body, refusal) => expectRefusal(path, body, json, refusal));

it.each<[string, string, Uint8Array, Record<string, string>, Refusal]>([
  ['no body', '/explain', Buffer.alloc(0), jpeg, [400, 'INVALID_IMAGE']],
  ['a form without its boundary', '/explain', cat, { 'content-type': 'multipart/form-data' }, REQUEST],
  ['half of a character', '/explain', Buffer.from([0x7b, 0x22, 0xc3, 0x22, 0x7d]), json, REQUEST],
  ['gzip', '/explain', gzipSync(cat), { ...jpeg, 'content-encoding': 'gzip' }, MEDIA],
  ['gzip of JSON', V1, gzipSync('{}'), { ...json, 'content-encoding': 'gzip' }, MEDIA],
  ['a form of text', '/explain', Buffer.from('a=1'), { 'content-type': 'application/x-www-form-urlencoded' }, MEDIA],
  ['no media type', '/explain', cat, { 'content-type': ';;;' }, MEDIA],
  ['a header beyond the body', V2, Buffer.from('{}'), { 'inference-header-content-length': '1e9' }, REQUEST],
])('%s is refused', (_name, path, body, headers, refusal) => expectRefusal(path, body, headers, refusal));

describe('many at once', () => {
  it('more maps than an answer can hold are refused before they are computed', async () => {
    const made = await served();
    const before = stats().completed;
    const instances = Array.from({ length: 32 }, () => ({ b64 }));
    const request = { instances, method: 'gae', targets: ['top12'] };
    const refused = await postJson(`${made.address}/v1/models/vit:explain`, request);
    expect([refused.status, await refused.json()]).toMatchObject([
      422,
      { code: 'LIMIT_EXCEEDED', error: expect.stringContaining('19,267,584 numbers of maps') },
    ]);
    expect(stats().completed).toBe(before);
    const small = await served({ limits: { maxValues: 100 } });
    const ofGrid = await post(`${small.address}/explain?model=vit&method=gae&size=grid`, cat, jpeg);
    expect([ofGrid.status, await ofGrid.json()]).toMatchObject([422, { code: 'LIMIT_EXCEEDED' }]);
  });

  it('bodies that are still coming take no more memory than they may together, and give it back', async () => {
    const made = await served({ limits: { maxBytesInFlight: 100_000 } });
    const held = connect(made.port, '127.0.0.1');
    held.write('POST /explain HTTP/1.1\r\nhost: a\r\ncontent-type: image/jpeg\r\ncontent-length: 90000\r\n\r\n');
    held.write(Buffer.alloc(80_000));
    const refused = async (): Promise<[number, string]> => {
      const response = await post(`${made.address}/explain`, Buffer.alloc(50_000), jpeg);
      return [response.status, ((await response.json()) as { code: string }).code];
    };
    // Until the first has come.
    await until(async () => (await refused())[1] === 'OVERLOADED');
    held.destroy();
    await until(() => made.service.health().inFlight === 0);
    for (let i = 0; i < 5; i++) expect(await refused()).toEqual([400, 'INVALID_IMAGE']);
  });
});

describe('several models at once', () => {
  it('each answers its own, and one that is unloaded answers what it had begun', async () => {
    const made = await served({
      models: { resnet: models.resnet, vit: models.vit, own: 'vit-tiny-shapes' },
      load: { device: 'cpu' },
      repository: true,
      limits: { maxSamples: 1_000_000 },
    });
    await made.service.ready();
    const at = made.address;
    const names = ['resnet', 'vit', 'own'];
    const answers = await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const response = await post(`${at}/explain?model=${names[i % 3]}&size=grid`, cat, jpeg);
        return ((await response.json()) as { model: string }).model;
      }),
    );
    expect(answers).toEqual(Array.from({ length: 12 }, (_, i) => names[i % 3]));

    const begun = post(`${at}/explain?model=own&method=rise&masks=64&size=grid`, cat, jpeg);
    await until(() => made.service.health().inFlight === 1);
    const unloaded = postJson(`${at}/v2/repository/models/own/unload`, {});
    await until(() => !made.service.health().models['own']);
    const refused = await post(`${at}/explain?model=own`, cat, jpeg);
    expect([refused.status, await refused.json()]).toMatchObject([503, { code: 'NOT_READY' }]);
    expect((await begun).status).toBe(200);
    expect((await unloaded).status).toBe(200);
    expect((await postJson(`${at}/v2/repository/models/own/load`, {})).status).toBe(200);
    expect((await post(`${at}/explain?model=own&size=grid`, cat, jpeg)).status).toBe(200);
  });
});
