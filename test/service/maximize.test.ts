import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import type { Model } from '../../lib/index.js';
import sightline from '../../lib/service/fastify.js';
import { createService, type ServiceOptions } from '../../lib/service/http.js';
import { liveAnswer } from '../../lib/service/live.js';
import { asJson, HOUR, load, postJson, serve, until, type Served } from './support.js';

let model: Model;
beforeAll(async () => {
  model = await load('vit-tiny-shapes');
});
afterAll(() => model.close());

async function served(options: Partial<ServiceOptions> = {}): Promise<Served> {
  const made = await serve({ models: { vit: model }, ...options });
  onTestFinished(made.stop);
  return made;
}

const linesOf = async (response: Response): Promise<Record<string, unknown>[]> =>
  (await response.text())
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** Longer than anybody waits. */
const ENDLESS = { class: 0, steps: 1_000_000 };
const limits = { maxSamples: 1_000_000 };

/** The codes that a service's log tells. */
function logOf(): { codes: (string | null)[]; logger: NonNullable<ServiceOptions['logger']> } {
  const codes: (string | null)[] = [];
  const told = (fields: object): unknown => codes.push((fields as { code: string | null }).code);
  return { codes, logger: { info: told, error: told } };
}

describe('POST /maximize', () => {
  it('tells of each step as the library does, and gives its image at the end', async () => {
    const { address } = await served();
    const options = { node: 'blocks.2.attn', head: 1, steps: 20, seed: 3, every: 5 };
    const lines = await linesOf(await postJson(`${address}/maximize`, options));
    const steps: unknown[] = [];
    const made = await model.maximize({
      ...options,
      onProgress: ({ step, steps: of, activation }) => void steps.push({ step, steps: of, activation }),
    });
    const last = lines.pop()!;
    expect(lines[0]).toMatchObject({ step: 0, steps: 20, image: { type: 'image/webp' } });
    // A line that was not read when the next one came is left out.
    for (const { image, ...line } of lines) {
      expect([steps, typeof image]).toEqual([expect.arrayContaining([line]), 'object']);
    }
    const { objective, activation, activations } = made;
    const png = await made.image.picture().toBuffer({ format: 'png' });
    expect(last).toEqual({
      model: 'vit',
      ...(asJson({ objective, activation, activations, options: made.options }) as object),
      shape: [3, 224, 224],
      image: { type: 'image/png', b64: png.toString('base64') },
    });
  });

  it('gives the image alone where a picture is accepted', async () => {
    const { address } = await served();
    const response = await postJson(`${address}/maximize`, { class: 2, steps: 8 }, { accept: 'image/png' });
    expect(response.headers.get('content-type')).toBe('image/png');
    const made = await model.maximize({ class: 2, steps: 8 });
    const expected = await made.image.picture().toBuffer({ format: 'png' });
    expect(Buffer.from(await response.arrayBuffer()).equals(expected)).toBe(true);
  });

  it.each([
    ['more steps than the limit', { class: 0, steps: 5000 }, {}, 422, 'LIMIT_EXCEEDED'],
    ['a class that there is not', { class: 'none' }, {}, 400, 'UNKNOWN_TARGET'],
    ['a node that there is not', { node: 'none' }, {}, 400, 'UNKNOWN_NODE'],
    ['nothing to maximize', {}, {}, 400, 'INVALID_OPTION'],
    ['a name of its own for the client', { class: 0, client: 'x' }, {}, 400, 'INVALID_OPTION'],
    ['another model', { class: 0, model: 'none' }, {}, 404, 'NOT_FOUND'],
    ['what is no JSON', { class: 0 }, { 'content-type': 'text/plain' }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['a format that there is not', { class: 0 }, { accept: 'image/gif' }, 406, 'NOT_ACCEPTABLE'],
  ])('refuses %s', async (_name, asked, headers, status, code) => {
    const { address } = await served();
    const response = await postJson(`${address}/maximize`, asked, headers);
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([status, code]);
  });

  it('ends the work of a client that leaves amid it, and frees its place', async () => {
    const { codes, logger } = logOf();
    const { address, service } = await served({ limits, logger });
    const client = new AbortController();
    const response = await fetch(`${address}/maximize`, {
      method: 'POST',
      body: JSON.stringify(ENDLESS),
      headers: { 'content-type': 'application/json' },
      signal: client.signal,
    });
    const { value } = await response.body!.getReader().read();
    expect(Buffer.from(value).toString()).toContain('"step":0');
    expect(service.health().inFlight).toBe(1);
    client.abort();
    await until(() => service.health().inFlight === 0);
    expect(codes).toEqual(['CLIENT_GONE']);
  });

  it('says in the last line why there is no more', async () => {
    const { codes, logger } = logOf();
    const { address, service } = await served({ limits, logger });
    const response = await postJson(`${address}/maximize`, ENDLESS);
    expect(response.status).toBe(200);
    expect(await service.close(1)).toBe(1);
    expect((await linesOf(response)).at(-1)).toMatchObject({ code: 'CLOSING' });
    expect(codes).toEqual(['CLOSING']);
  });

  it('is written while it goes on by Fastify, and by web-standard responses', async () => {
    const app = Fastify();
    await app.register(sightline, { models: { vit: model }, limits, deadline: HOUR });
    const address = await app.listen({ port: 0, host: '127.0.0.1' });
    onTestFinished(() => app.close());
    const service = createService({ models: { vit: model }, limits, deadline: HOUR });
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(ENDLESS) };
    const answers = [
      [app.sightline, await fetch(`${address}/maximize`, init)],
      [service, await service.fetch(new Request('http://x/maximize', init))],
    ] as const;
    for (const [of, response] of answers) {
      const reader = response.body!.getReader();
      const { value } = await reader.read();
      expect(JSON.parse(Buffer.from(value).toString().split('\n')[0]!)).toMatchObject({ step: 0 });
      await reader.cancel();
      await until(() => of.health().inFlight === 0);
    }
  });
});

describe('lines of work that goes on', () => {
  it('are the newest for whoever reads slowly, and the last one always', async () => {
    let finish!: () => void;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const { body } = await liveAnswer(new AbortController().signal, async (tell) => {
      [1, 2, 3].forEach((step) => tell({ step }));
      await finished;
      return { step: 'last' };
    });
    const lines = body as AsyncIterable<string>;
    const iterator = lines[Symbol.asyncIterator]();
    expect(await iterator.next()).toEqual({ done: false, value: '{"step":3}\n' });
    finish();
    expect(await iterator.next()).toEqual({ done: false, value: '{"step":"last"}\n' });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('end their work when they are left before one was read', async () => {
    const { body } = await liveAnswer(new AbortController().signal, async (tell, signal) => {
      tell({});
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
      return {};
    });
    const lines = body as AsyncIterable<string> & { ended: Promise<unknown> };
    await lines[Symbol.asyncIterator]().return!();
    expect(await lines.ended).toMatchObject({ code: 'CLIENT_GONE' });
  });
});
