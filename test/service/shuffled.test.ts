import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { stats, type Model } from '../../lib/index.js';
import { ShuffledModels } from '../../lib/service/shuffled.js';
import type { ServiceOptions } from '../../lib/service/http.js';
import { load, photo, post, serve } from './support.js';

let model: Model;
const cat = photo('cat.jpg');
beforeAll(async () => {
  model = await load('vit-tiny-shapes');
});
afterAll(() => model.close());

const ask = async (
  query: string,
  options: Partial<ServiceOptions> = {},
): Promise<{ status: number; body: unknown }> => {
  const { address, stop } = await serve({ models: { vit: model }, ...options });
  onTestFinished(stop);
  const response = await post(`${address}/explain?method=gae&size=grid&target=3&${query}`, cat, {
    'content-type': 'image/jpeg',
  });
  return { status: response.status, body: await response.json() };
};
const dataOf = ({ body }: { body: unknown }): number[] => (body as { maps: { data: number[] }[] }).maps[0]!.data;

describe('POST /explain with weights=shuffled', () => {
  it('explains a copy of the model that has learned nothing, and closes it with the service', async () => {
    const { models } = stats();
    const { address, stop } = await serve({ models: { vit: model } });
    const url = `${address}/explain?method=gae&size=grid&target=3`;
    const maps: number[][] = [];
    // One after the other: two that are gathered in a batch differ from singles by rounding.
    for (const more of ['', '&weights=trained', '&weights=shuffled']) {
      maps.push(dataOf({ body: await (await post(url + more, cat, { 'content-type': 'image/jpeg' })).json() }));
    }
    const [trained, plain, shuffled] = maps;
    expect(stats().models).toBe(models + 1);
    await stop();
    expect(stats().models).toBe(models);
    expect(plain).toEqual(trained);
    await using copy = await model.shuffled();
    const [expected] = await copy.explain([cat], { method: 'gae', size: 'grid', targets: [3] });
    expect(shuffled).toEqual([...expected!.maps[0]!.data]);
    expect(shuffled).not.toEqual(trained);
  });

  it('is refused where the service keeps no such copies, and by another word', async () => {
    expect(await ask('weights=shuffled', { shuffled: false })).toMatchObject({
      status: 400,
      body: { code: 'INVALID_REQUEST' },
    });
    expect(await ask('weights=none')).toMatchObject({ status: 400, body: { code: 'INVALID_OPTION' } });
  });
});

describe('the copies', () => {
  it('are two at most: one that nobody uses gives way, and where all are used the next is refused', async () => {
    const others = await Promise.all([load('vit-tiny-shapes'), load('resnet-tiny-shapes')]);
    onTestFinished(async () => void (await Promise.all(others.map((each) => each.close()))));
    const { models } = stats();
    const copies = new ShuffledModels();
    const { signal } = new AbortController();
    const first = await copies.hold(model, signal);
    const second = await copies.hold(others[0], signal);
    const again = await copies.hold(model, signal);
    expect(again.copy).toBe(first.copy);
    await expect(copies.hold(others[1], signal)).rejects.toMatchObject({ code: 'OVERLOADED' });
    second.release();
    // Twice is once.
    second.release();
    const third = await copies.hold(others[1], signal);
    await expect(second.copy.predict([cat])).rejects.toMatchObject({ code: 'MODEL_CLOSED' });
    first.release();
    await expect(copies.hold(others[0], signal)).rejects.toMatchObject({ code: 'OVERLOADED' });
    third.release();
    again.release();
    await copies.close();
    expect(stats().models).toBe(models);
  });

  it('wait no longer than the request that asks for one', async () => {
    const copies = new ShuffledModels();
    const controller = new AbortController();
    const held = copies.hold(model, controller.signal);
    controller.abort();
    await expect(held).rejects.toMatchObject({ code: 'ABORTED' });
    await copies.close();
  });
});
