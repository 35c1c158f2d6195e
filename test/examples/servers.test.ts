import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import sharp from 'sharp';
import { Model } from 'sightline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createApp } from '../../examples/express-upload.js';
import { createServer } from '../../examples/fastify-upload.js';
import { photo } from './support.js';

let model: Model;
beforeAll(async () => {
  model = await Model.load('efficientnet-lite0', { device: 'cpu' });
});
afterAll(() => model.close());

const post = (address: string, bytes: Uint8Array<ArrayBuffer>): Promise<Response> => {
  const body = new FormData();
  body.set('image', new Blob([bytes]), 'upload.jpg');
  return fetch(`${address}/explain`, { method: 'POST', body });
};
const coffee = new Uint8Array(readFileSync(photo('coffee.jpg')));
const notAnImage = new TextEncoder().encode('not an image at all');

describe('express-upload', () => {
  let server: Server;
  let address: string;
  beforeAll(async () => {
    server = createApp(model).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  it('answers with what direct calls give', async () => {
    const response = await post(address, coffee);
    expect(response.status).toBe(200);
    const [expected] = await model.explain(photo('coffee.jpg'), { method: 'cam' });
    expect(await response.json()).toEqual(
      JSON.parse(JSON.stringify({ predictions: expected!.predictions, peak: expected!.maps[0]!.peak() })),
    );
    expect(expected!.predictions[0]!.label).toBe('espresso');
  });

  it('answers with the overlay as PNG', async () => {
    const body = new FormData();
    body.set('image', new Blob([coffee]), 'upload.jpg');
    const response = await fetch(`${address}/explain?as=png`, { method: 'POST', body });
    expect(response.headers.get('content-type')).toMatch(/^image\/png/);
    const [expected] = await model.explain(photo('coffee.jpg'), { method: 'cam' });
    const raw = (bytes: ArrayBuffer | Buffer): Promise<Buffer> => sharp(bytes).raw().toBuffer();
    expect(
      (await raw(await response.arrayBuffer())).equals(await raw(await expected!.maps[0]!.overlay().toBuffer())),
    ).toBe(true);
  });

  it('says what is wrong with a request', async () => {
    const broken = await post(address, notAnImage);
    expect([broken.status, await broken.json()]).toMatchObject([415, { code: 'INVALID_IMAGE' }]);
    const empty = await fetch(`${address}/explain`, { method: 'POST', body: new FormData() });
    expect(empty.status).toBe(400);
  });
});

describe('fastify-upload', () => {
  let server: Awaited<ReturnType<typeof createServer>>;
  let address: string;
  beforeAll(async () => {
    server = await createServer(model);
    address = await server.listen({ port: 0, host: '127.0.0.1' });
  });
  afterAll(() => server.close());

  it('answers with what direct calls give', async () => {
    const response = await post(address, coffee);
    expect(response.status).toBe(200);
    const [expected] = await model.explain(photo('coffee.jpg'), { method: 'cam', size: 'grid' });
    const { data, shape } = expected!.maps[0]!;
    expect(await response.json()).toEqual(
      JSON.parse(JSON.stringify({ predictions: expected!.predictions, map: { shape, data: Array.from(data) } })),
    );
    expect(Math.max(...data)).toBe(1);
  });

  it('says what is wrong with a request', async () => {
    const broken = await post(address, notAnImage);
    expect([broken.status, await broken.json()]).toMatchObject([415, { code: 'INVALID_IMAGE' }]);
    const body = new FormData();
    body.set('other', 'text');
    expect((await fetch(`${address}/explain`, { method: 'POST', body })).status).toBe(400);
  });
});
