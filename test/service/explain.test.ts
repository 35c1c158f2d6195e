import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { decodeNpy, Model } from '../../lib/index.js';
import { createService } from '../../lib/service/http.js';
import { chosenFormat } from '../../lib/service/accept.js';
import { FORMATS } from '../../lib/service/friendly.js';
import { asJson, load, photo, post, postJson, serve, type Served } from './support.js';

let model: Model;
let other: Model;
let served: Served;
const cat = photo('cat.jpg');

beforeAll(async () => {
  [model, other] = await Promise.all([load('resnet-tiny-shapes'), load('vit-tiny-shapes')]);
  served = await serve({ models: { resnet: model, vit: other } });
});
afterAll(async () => {
  await served.stop();
  await Promise.all([model.close(), other.close()]);
});
const at = (query = ''): string => `${served.address}/explain${query}`;
const jpeg = { 'content-type': 'image/jpeg' };
const pixels = (bytes: ArrayBuffer | Buffer): Promise<Buffer> => sharp(bytes).raw().toBuffer();

describe('POST /explain', () => {
  it('explains an image file by the options of its query', async () => {
    const query = '?model=vit&method=gradient-rollout&target=3&target=top1&size=grid&headFusion=max';
    const response = await post(at(query), cat, jpeg);
    expect(response.status).toBe(200);
    const [expected] = await other.explain([cat], {
      method: 'gradient-rollout',
      targets: ['3', 'top1'],
      size: 'grid',
      headFusion: 'max',
    });
    expect(await response.json()).toMatchObject({
      model: 'vit',
      method: 'gradient-rollout',
      options: { headFusion: 'max' },
      predictions: asJson(expected!.predictions) as object[],
      maps: expected!.maps.map(({ data, target }) => asJson({ data: Array.from(data), target })) as object[],
    });
  });

  it('takes the first model and the method that suits it where none is named', async () => {
    const response = await post(at(), cat, { 'content-type': 'application/octet-stream' });
    const [expected] = await model.explain([cat]);
    expect(await response.json()).toMatchObject({ model: 'resnet', method: expected!.method });
  });

  it('takes a form, and JSON', async () => {
    const [expected] = await model.explain([cat], { method: 'grad-cam', size: 'grid', targets: ['top1'] });
    const data = asJson(Array.from(expected!.maps[0]!.data));
    const form = new FormData();
    form.set('image', new Blob([new Uint8Array(cat)]), 'cat.jpg');
    form.set('method', 'grad-cam');
    form.set('size', 'grid');
    form.set('target', 'top1');
    const ofForm = await fetch(at(), { method: 'POST', body: form });
    expect(((await ofForm.json()) as { maps: { data: unknown }[] }).maps[0]!.data).toEqual(data);
    const body = { image: { b64: cat.toString('base64') }, method: 'grad-cam', size: 'grid', targets: ['top1'] };
    const ofJson = await postJson(at(), body);
    expect(((await ofJson.json()) as { maps: { data: unknown }[] }).maps[0]!.data).toEqual(data);
  });

  it.each(['png', 'webp'] as const)('gives the overlay as %s, with the colors that are asked for', async (format) => {
    const response = await post(at('?method=cam&colormap=viridis&opacity=0.7&legend=true'), cat, {
      ...jpeg,
      accept: `image/${format}`,
    });
    expect(response.headers.get('content-type')).toBe(`image/${format}`);
    const [expected] = await model.explain([cat], { method: 'cam' });
    const overlay = expected!.maps[0]!.overlay({ colormap: 'viridis', opacity: 0.7, legend: true });
    const wanted = await pixels(await overlay.toBuffer({ format }));
    expect((await pixels(await response.arrayBuffer())).equals(wanted)).toBe(true);
  });

  it('gives the maps as .npy: [targets, height, width]', async () => {
    const response = await post(at('?method=grad-cam&target=1&target=2&size=grid'), cat, {
      ...jpeg,
      accept: 'application/x-npy',
    });
    const { data, shape } = decodeNpy(new Uint8Array(await response.arrayBuffer()), 'maps.npy');
    const [expected] = await model.explain([cat], { method: 'grad-cam', targets: [1, 2], size: 'grid' });
    expect(shape).toEqual([2, ...expected!.maps[0]!.shape]);
    expect(Array.from(data as Float32Array)).toEqual(expected!.maps.flatMap((map) => Array.from(map.data)));
  });

  it.each([
    ['text', '', 'text/plain', {}, 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['an answer in HTML', '', 'image/jpeg', { accept: 'text/html' }, 406, 'NOT_ACCEPTABLE'],
    ['two targets as one picture', '?target=1&target=2', 'image/jpeg', { accept: 'image/png' }, 400, 'INVALID_REQUEST'],
    ['an unknown colormap', '?colormap=pink', 'image/jpeg', { accept: 'image/png' }, 400, 'INVALID_OPTION'],
    ['an option twice', '?size=grid&size=image', 'image/jpeg', {}, 400, 'INVALID_REQUEST'],
    ['an unknown model', '?model=x', 'image/jpeg', {}, 404, 'NOT_FOUND'],
    ['a model by its path', '?model=..%2Fx.pt', 'image/jpeg', {}, 404, 'NOT_FOUND'],
    ['a deadline of words', '', 'image/jpeg', { 'x-deadline-ms': 'soon' }, 400, 'INVALID_REQUEST'],
  ])('refuses %s', async (_name, query, type, headers, status, code) => {
    const response = await post(at(query), cat, { 'content-type': type, ...headers });
    expect([response.status, await response.json()]).toMatchObject([status, { code }]);
  });

  it('refuses a form that is none, without a file, or with a path for one', async () => {
    const broken = await post(at(), Buffer.from('x'), { 'content-type': 'multipart/form-data; boundary=y' });
    expect([broken.status, await broken.json()]).toMatchObject([400, { code: 'INVALID_REQUEST' }]);
    const form = new FormData();
    form.set('image', '/etc/passwd');
    const path = await fetch(at(), { method: 'POST', body: form });
    expect([path.status, await path.json()]).toMatchObject([400, { code: 'INVALID_REQUEST' }]);
  });

  it('refuses SVG, also where the model was loaded to draw it', async () => {
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="9"/></svg>');
    const drawing = await Model.load('resnet-tiny-shapes', { device: 'cpu', svg: true });
    onTestFinished(() => drawing.close());
    expect((await drawing.predict([svg])).length).toBe(1);
    const { address, stop } = await serve({ models: { drawing } });
    onTestFinished(stop);
    const response = await post(`${address}/explain`, svg, { 'content-type': 'image/svg+xml' });
    expect([response.status, await response.json()]).toMatchObject([400, { code: 'INVALID_IMAGE' }]);
  });
});

describe('Accept', () => {
  it.each([
    [null, 'application/json'],
    ['*/*', 'application/json'],
    ['image/*', 'image/png'],
    ['image/webp, image/png;q=0.5', 'image/webp'],
    ['image/avif, image/png;q=0, */*;q=0.1', 'application/json'],
    ['application/x-npy, */*;q=0.8', 'application/x-npy'],
  ])('%s means %s', (accept, format) => expect(chosenFormat(accept, FORMATS)).toBe(format));
});

it('answers web-standard requests, as of Hono and Next', async () => {
  const { fetch } = createService({ models: { resnet: model } });
  const response = await fetch(
    new Request('http://x/explain?size=grid', { method: 'POST', headers: jpeg, body: new Uint8Array(cat) }),
  );
  const [expected] = await model.explain([cat], { size: 'grid' });
  expect(((await response.json()) as { maps: { data: unknown }[] }).maps[0]!.data).toEqual(
    asJson(Array.from(expected!.maps[0]!.data)),
  );
  const head = await fetch(new Request('http://x/v1/models', { method: 'HEAD' }));
  expect([head.status, await head.text()]).toEqual([200, '']);
});
