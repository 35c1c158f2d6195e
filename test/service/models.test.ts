import { copyFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { Model, stats } from '../../lib/index.js';
import type { ServiceOptions } from '../../lib/service/http.js';
import { ROOT, temporaryFolder } from '../setup/fixtures.js';
import { asJson, engineIdle, load, photo, post, postJson, serve, type Served, until } from './support.js';

const cat = photo('cat.jpg');
const jpeg = { 'content-type': 'image/jpeg' };
const bundled = (name: string): string => path.join(ROOT, 'models', name);
/** Two classifiers of the same classes, which say different things of the cat. */
const FIRST = 'vit-tiny-shapes';
const SECOND = 'resnet-tiny-shapes';
let expected: Readonly<Record<string, unknown>>;

beforeAll(async () => {
  const predictions = async (name: string): Promise<unknown> => {
    const model = await load(name);
    const [predicted] = await model.predict(cat);
    await model.close();
    return asJson(predicted!.predictions);
  };
  expected = { [FIRST]: await predictions(FIRST), [SECOND]: await predictions(SECOND) };
  const best = (name: string): unknown => ranked({ status: 200, predictions: expected[name] });
  expect(best(FIRST)).not.toEqual(best(SECOND));
});
afterAll(async () => {
  await until(() => stats().models === 0);
});

/** A file that holds one model, then another, with its card. */
function replaceable(): { readonly file: string; readonly put: (name: string) => void } {
  const file = path.join(temporaryFolder(), 'model.pt');
  const put = (name: string): void => {
    for (const ending of ['.pt', '.json']) copyFileSync(`${bundled(name)}${ending}`, file.replace('.pt', ending));
  };
  return { file, put };
}

async function served(options: ServiceOptions): Promise<Served> {
  const made = await serve({ load: { device: 'cpu' }, ...options });
  onTestFinished(made.stop);
  await made.service.ready();
  return made;
}

const predict = async (address: string, name = 'm'): Promise<{ status: number; predictions: unknown }> => {
  const response = await postJson(`${address}/v1/models/${name}:predict`, {
    instances: [{ b64: cat.toString('base64') }],
  });
  const { predictions } = (await response.json()) as { predictions?: unknown[] };
  return { status: response.status, predictions: predictions?.[0] };
};

const ranked = ({ status, predictions }: { status: number; predictions: unknown }): unknown => ({
  status,
  indices: (predictions as { index: number }[] | undefined)?.map(({ index }) => index),
});

describe('reload', () => {
  it('puts the new file in the place of the old one without dropping a request', async () => {
    const { file, put } = replaceable();
    put(FIRST);
    const { address, service } = await served({ models: { m: file } });
    let isOver = false;
    // By their best classes: which requests share a batch moves the last bits of the scores.
    const seen: unknown[] = [];
    const client = async (): Promise<void> => {
      while (!isOver) seen.push(ranked(await predict(address)));
    };
    const clients = [client(), client(), client()];
    const answers = (name: string): unknown => ranked({ status: 200, predictions: expected[name] });
    const from = async (name: string): Promise<void> => {
      const before = seen.length;
      await until(() => seen.slice(before).some((each) => JSON.stringify(each) === JSON.stringify(answers(name))));
    };
    await from(FIRST);
    for (const name of [SECOND, FIRST, SECOND]) {
      put(name);
      await service.reload();
      await from(name);
    }
    isOver = true;
    await Promise.all(clients);
    for (const each of seen) expect([answers(FIRST), answers(SECOND)]).toContainEqual(each);
    // Those before were closed.
    expect(stats().models).toBe(1);
  });

  it('lets a long request end on the model on which it began', async () => {
    const { file, put } = replaceable();
    put(FIRST);
    const { address, service } = await served({ models: { m: file } });
    const url = `${address}/explain?method=rise&masks=400&seed=1&size=grid&raw=true`;
    const ask = async (): Promise<unknown> => (await post(url, cat, jpeg)).json();
    const before = await ask();
    await engineIdle();
    const long = ask();
    await until(() => stats().running > 0);
    put(SECOND);
    const reloaded = service.reload('m');
    expect(await long).toEqual(before);
    await reloaded;
    expect(stats().models).toBe(1);
    expect(await predict(address)).toEqual({ status: 200, predictions: expected[SECOND] });
  });

  it('keeps the model before where the new file cannot be loaded, and says why', async () => {
    const { file, put } = replaceable();
    put(FIRST);
    const { address, service } = await served({ models: { m: file } });
    writeFileSync(file, 'no archive');
    await expect(service.reload()).rejects.toMatchObject({
      name: 'SightlineError',
      message: expect.any(String) as string,
    });
    expect(service.health()).toMatchObject({ state: 'ready', models: { m: true } });
    expect(await predict(address)).toEqual({ status: 200, predictions: expected[FIRST] });
    put(SECOND);
    await service.reload();
    expect(await predict(address)).toEqual({ status: 200, predictions: expected[SECOND] });
  });
});

describe('load and unload', () => {
  it('add a model, take one away and bring it back', async () => {
    const { address, service } = await served({ models: { m: FIRST } });
    await service.load('other', SECOND);
    expect(await predict(address, 'other')).toEqual({ status: 200, predictions: expected[SECOND] });
    await service.unload('other');
    expect(stats().models).toBe(1);
    expect((await predict(address, 'other')).status).toBe(503);
    expect(service.health()).toMatchObject({ state: 'ready', models: { m: true, other: false } });
    await service.reload('other');
    expect((await predict(address, 'other')).status).toBe(200);
  });

  it('leave an open model to its caller', async () => {
    const model = await load(FIRST);
    onTestFinished(() => model.close());
    const { address, service } = await served({ models: { m: model } });
    await service.load('m', SECOND);
    expect(await predict(address)).toEqual({ status: 200, predictions: expected[SECOND] });
    expect(await model.predict(cat)).toHaveLength(1);
    await service.load('m', model);
    expect(await predict(address)).toEqual({ status: 200, predictions: expected[FIRST] });
  });

  it('refuse names that are none, names that there are not, and a service that closes', async () => {
    const { service } = await served({ models: { m: FIRST } });
    await expect(service.load('a b', SECOND)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await expect(service.load('a', 3 as never)).rejects.toMatchObject({ code: 'INVALID_OPTION' });
    await expect(service.reload('none')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(service.unload('none')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await service.close();
    await expect(service.load('b', SECOND)).rejects.toMatchObject({ code: 'MODEL_CLOSED' });
    await expect(service.reload()).rejects.toMatchObject({ code: 'MODEL_CLOSED' });
  });

  it('tell of a model that could not be loaded', async () => {
    const made = await serve({ models: { m: FIRST, bad: 'no/such.pt' } });
    onTestFinished(made.stop);
    await expect(made.service.ready()).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    await until(() => made.service.health().models['m'] === true);
    expect(made.service.health()).toMatchObject({ state: 'loading', models: { bad: false } });
    const refused = await fetch(`${made.address}/v1/models/bad`);
    expect(await refused.json()).toEqual({ error: 'The model bad could not be loaded.', code: 'NOT_READY' });
  });
});

describe('the model repository of the Open Inference Protocol', () => {
  const send = (address: string, route: string): Promise<Response> => postJson(`${address}/v2/repository/${route}`, {});

  it('lists, unloads and loads', async () => {
    const { address } = await served({ models: { m: FIRST, n: SECOND }, repository: true });
    const index = async (): Promise<unknown> => (await send(address, 'index')).json();
    const ready = (name: string): object => ({ name, version: '1', state: 'READY', reason: '' });
    expect(await index()).toEqual([ready('m'), ready('n')]);
    expect((await send(address, 'models/n/unload')).status).toBe(200);
    expect(await index()).toEqual([ready('m'), { name: 'n', version: '1', state: 'UNAVAILABLE', reason: 'unloaded' }]);
    expect((await predict(address, 'n')).status).toBe(503);
    expect((await send(address, 'models/n/load')).status).toBe(200);
    expect(await predict(address, 'n')).toEqual({ status: 200, predictions: expected[SECOND] });
    expect((await send(address, 'models/none/load')).status).toBe(404);
  });

  it('is not there unless it was asked for', async () => {
    const { address } = await served({ models: { m: FIRST } });
    for (const route of ['index', 'models/m/load', 'models/m/unload']) {
      expect((await send(address, route)).status).toBe(404);
    }
    const { paths } = (await (await fetch(`${address}/openapi.json`)).json()) as { paths: object };
    expect(Object.keys(paths).filter((each) => each.includes('repository'))).toEqual([]);
    expect((await predict(address)).status).toBe(200);
  });
});

it('a model that closes under a request is told as such', async () => {
  const model = await Model.load(FIRST, { device: 'cpu' });
  const { address } = await served({ models: { m: model } });
  await model.close();
  expect((await predict(address)).status).toBe(503);
});
