import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { stats, type Model } from '../../lib/index.js';
import type { ServiceOptions } from '../../lib/service/http.js';
import { callOf } from '../../lib/service/node.js';
import { serveStrictly, type Strict } from './strict-service.js';
import { engineIdle, load, photo, post, until } from './support.js';

const cat = photo('cat.jpg');
const jpeg = { 'content-type': 'image/jpeg' };
let models: Record<'resnet' | 'vit', Model>;

const served = (options: Partial<ServiceOptions> = {}): Promise<Strict> => serveStrictly({ models, ...options });

beforeAll(async () => {
  const [resnet, vit] = await Promise.all([load('resnet-tiny-shapes'), load('vit-tiny-shapes')]);
  models = { resnet, vit };
});
afterAll(() => Promise.all(Object.values(models).map((model) => model.close())));

/** All that the server sends to a connection until it closes it. */
async function exchange(port: number, write: (socket: Socket) => void): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
  // Whoever sends too much is cut off.
  socket.on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  write(socket);
  await closed;
  return text;
}

/** Status and code of an answer as it came. */
function read(text: string): [number, string] {
  const [head, body] = text.split('\r\n\r\n') as [string, string];
  return [Number(/^HTTP\/1\.1 (\d+) /.exec(head)![1]), (JSON.parse(body) as { code: string }).code];
}
const HEAD = 'POST /explain HTTP/1.1\r\nhost: a\r\ncontent-type: image/jpeg\r\n';

describe('bytes that are no request', () => {
  it.each([
    ['noise', '\u0016\u0003\u0001\u0002 no HTTP\r\n\r\n', 400, 'INVALID_REQUEST'],
    ['two lengths', `${HEAD}content-length: 1\r\ncontent-length: 2\r\n\r\nab`, 400, 'INVALID_REQUEST'],
    [
      'a length and chunks',
      `${HEAD}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
      'INVALID_REQUEST',
    ],
    ['a chunk that is none', `${HEAD}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\nZZZ\r\n`, 400, 'INVALID_REQUEST'],
    ['a long header', `GET /v2 HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'HEADERS_TOO_LARGE'],
    ['a long path', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nhost: a\r\n\r\n`, 431, 'HEADERS_TOO_LARGE'],
    ['no host', 'GET /v2 HTTP/1.1\r\n\r\n', 400, 'INVALID_REQUEST'],
    ['an expectation', `${HEAD}expect: miracles\r\ncontent-length: 1\r\n\r\n`, 417, 'EXPECTATION_FAILED'],
  ])('%s', async (_name, bytes, status, code) => {
    const made = await served();
    expect(read(await exchange(made.port, (socket) => socket.write(bytes, 'latin1')))).toEqual([status, code]);
    expect((await post(`${made.address}/explain`, cat, jpeg)).status).toBe(200);
    await until(() => made.service.health().inFlight === 0);
  });

  it('headers without an end are cut off', async () => {
    const made = await served();
    let sent = 0;
    await exchange(made.port, (socket) => {
      socket.write('GET /v2 HTTP/1.1\r\nhost: a\r\n');
      const more = (): void => {
        if (socket.destroyed) return;
        sent += 65_536;
        if (socket.write(`x-${sent}: ${'x'.repeat(65_500)}\r\n`)) setImmediate(more);
        else socket.once('drain', more);
      };
      more();
    });
    // Of 100 MB that might have come, what the system's buffers hold.
    expect(sent).toBeLessThan(50_000_000);
    expect((await fetch(`${made.address}/v2`)).status).toBe(200);
  });

  it('headers that come too slowly', async () => {
    const made = await served();
    made.server.headersTimeout = 1;
    made.server.requestTimeout = 1;
    // Looked for every 30 s otherwise.
    const server = made.server as Server & Record<symbol, unknown>;
    const error = Object.assign(new Error('timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
    const text = await exchange(made.port, (socket) => {
      socket.write('GET /v2 HTTP/1.1\r\nhost:');
      server.once('connection', (held: Socket) => setTimeout(() => server.emit('clientError', error, held), 20));
    });
    expect(read(text)).toEqual([408, 'REQUEST_TIMEOUT']);
  });
});

describe('old and odd HTTP', () => {
  it('HTTP/1.0 is answered and closed', async () => {
    const made = await served();
    const text = await exchange(made.port, (socket) => socket.write('GET /v2/health/live HTTP/1.0\r\n\r\n'));
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(text).toMatch(/\r\n\r\n\{"live":true\}$/);
  });

  it('pipelined requests are answered in order', async () => {
    const made = await served();
    const length = `content-length: ${cat.length}\r\n`;
    const text = await exchange(made.port, (socket) => {
      for (let i = 0; i < 20; i++) socket.write(`GET /v1/models/${i % 2 ? 'vit' : 'none'} HTTP/1.1\r\nhost: a\r\n\r\n`);
      socket.write(
        `POST /explain?model=resnet&size=grid HTTP/1.1\r\nhost: a\r\ncontent-type: image/jpeg\r\n${length}\r\n`,
      );
      socket.write(cat);
      socket.write('GET /v2/health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    });
    const statuses = [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status));
    expect(statuses).toEqual([...Array.from({ length: 20 }, (_, i) => (i % 2 ? 200 : 404)), 200, 200]);
    expect(text).toMatch(/\{"live":true\}$/);
  });

  it('a client that goes away ends all that it pipelined, and no warning is given', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    onTestFinished(() => void process.off('warning', onWarning));
    const made = await served({ limits: { maxSamples: 1_000_000, maxRequests: 12 } });
    await engineIdle();
    const socket = connect(made.port, '127.0.0.1');
    const long = 'POST /explain?model=vit&method=rise&masks=100000 HTTP/1.1\r\nhost: a\r\ncontent-type: image/jpeg\r\n';
    for (let i = 0; i < 12; i++) {
      socket.write(`${long}content-length: ${cat.length}\r\n\r\n`);
      socket.write(cat);
    }
    await until(() => made.service.health().inFlight === 12);
    await until(() => stats().running > 0);
    socket.destroy();
    await until(() => made.service.health().inFlight === 0);
    expect(warnings).toEqual([]);
  });

  it('a client that goes away within its body is no fault', async () => {
    const made = await served();
    const socket = connect(made.port, '127.0.0.1');
    socket.write(`${HEAD}content-length: 100000\r\n\r\nabc`);
    await until(() => made.service.health().inFlight === 1);
    socket.destroy();
    await until(() => made.service.health().inFlight === 0);
    const metrics = await (await fetch(`${made.address}/metrics`)).text();
    expect(metrics).toContain('sightline_errors_total{code="CLIENT_GONE"} 1');
  });
});

it("a client's header is found, however it is spelled", async () => {
  const server = createServer((request, response) => {
    response.end(callOf(request, response, request).header('X-Client'));
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { 'x-client': 'ada' } });
  expect(await answer.text()).toBe('ada');
});
