import { getEventListeners } from 'node:events';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Model, stats } from '../../lib/index.js';
import { expectRounded, nudged } from '../support/rounding.js';
import { cardOf, CNN, fence, gate, imageOf, imagesOf, until, VIT } from './models.js';

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'resolved',
    ({ code }: { code?: string }) => code ?? 'no code',
  );

let model: Model;
/** Keeps the engine busy until it is called. */
let release: () => Promise<void>;

/** The engine computes something endless from here on. */
async function occupy(): Promise<void> {
  const { method, started } = gate();
  const abort = new AbortController();
  const work = codeOf(model.explain(imagesOf(VIT, 1), { method, signal: abort.signal, memory: 1 }));
  await started();
  const fenced = fence(model, VIT);
  release = async () => {
    release = () => Promise.resolve();
    const { failed } = stats();
    abort.abort();
    expect(await work).toBe('ABORTED');
    // It rejects before the engine has left it.
    await until('the engine to leave it', () => stats().failed > failed);
    await fenced;
  };
}

beforeEach(async () => {
  model = await Model.load(VIT.path, { device: 'cpu', card: cardOf(VIT), maxQueue: 6 });
  release = () => Promise.resolve();
});
afterEach(async () => {
  await release();
  await model.close();
  expect(stats()).toMatchObject({ models: 0, queued: 0, running: 0 });
});

describe('a full queue', () => {
  it('refuses at once, leaves what waits alone, and takes more once there is room', async () => {
    await occupy();
    const waiting = [0, 1, 2].map((seed) => model.explain(imagesOf(VIT, 2, seed), { method: 'gae' }));
    await until('six images in the queue', () => stats().queued === 6);
    const error: unknown = await model.explain(imagesOf(VIT, 1), { method: 'gae' }).catch((reason: unknown) => reason);
    // Refused while the engine was still busy with the first request.
    expect(stats()).toMatchObject({ queued: 6, running: 1 });
    expect(error).toMatchObject({
      code: 'QUEUE_FULL',
      message: '6 images wait already, of 6 that may; send fewer at once, or raise maxQueue.',
    });
    await release();
    expect((await Promise.all(waiting)).flat()).toHaveLength(6);
    expect(await model.explain(imagesOf(VIT, 6), { method: 'gae' })).toHaveLength(6);
  });

  it('takes all images of a call or none', async () => {
    await occupy();
    const waiting = model.explain(imagesOf(VIT, 4), { method: 'gae' });
    await until('four images in the queue', () => stats().queued === 4);
    expect(await codeOf(model.explain(imagesOf(VIT, 3), { method: 'gae' }))).toBe('QUEUE_FULL');
    expect(stats().queued).toBe(4);
    const fitting = model.explain(imagesOf(VIT, 2), { method: 'gae' });
    await until('six images in the queue', () => stats().queued === 6);
    await release();
    expect([...(await waiting), ...(await fitting)]).toHaveLength(6);
  });

  it('does not keep a model from being closed', async () => {
    await occupy();
    const works = [
      codeOf(model.explain(imagesOf(VIT, 6), { method: 'gae' })),
      codeOf(model.explain(imagesOf(VIT, 6), { method: 'gae' })),
    ];
    await until('the queue to fill', () => stats().queued === 6);
    const closing = model.close();
    await release();
    await closing;
    expect((await Promise.all(works)).sort()).toEqual(['QUEUE_FULL', 'resolved']);
  });
});

describe('aborting', () => {
  it('before the call rejects without touching the engine', async () => {
    const before = stats();
    expect(await codeOf(model.explain(imagesOf(VIT, 2), { method: 'gae', signal: AbortSignal.abort() }))).toBe(
      'ABORTED',
    );
    expect(await codeOf(model.capture(imagesOf(VIT, 2), { attention: 'all', signal: AbortSignal.abort() }))).toBe(
      'ABORTED',
    );
    expect(await codeOf(model.attention(imagesOf(VIT, 1), { signal: AbortSignal.abort() }))).toBe('ABORTED');
    expect(stats()).toEqual(before);
  });

  it('while waiting rejects, and nothing of it is computed', async () => {
    await occupy();
    const abort = new AbortController();
    const work = codeOf(model.explain(imagesOf(VIT, 5), { method: 'gae', signal: abort.signal }));
    await until('five images in the queue', () => stats().queued === 5);
    const { completed, failed, batches } = stats();
    abort.abort();
    await release();
    expect(await work).toBe('ABORTED');
    // Five of it, and the one that occupied the engine.
    expect(stats()).toMatchObject({ completed, failed: failed + 6, batches });
  });

  // That it comes back at all says so: the method has ten million steps.
  it('amid computing rejects at the next step', async () => {
    const { method, started } = gate();
    const abort = new AbortController();
    const work = codeOf(model.explain(imagesOf(VIT, 2), { method, signal: abort.signal, memory: 1 }));
    await started();
    abort.abort();
    expect(await work).toBe('ABORTED');
    expect(await model.explain(imagesOf(VIT, 1), { method: 'gae' })).toHaveLength(1);
  });

  it('amid a call of many images rejects the call', async () => {
    const large = await Model.load(CNN.path, { device: 'cpu', card: cardOf(CNN) });
    const abort = new AbortController();
    const before = stats().completed;
    const work = codeOf(large.explain(imagesOf(CNN, 200), { method: 'grad-cam', signal: abort.signal }));
    await until('the first images to be done', () => stats().completed > before);
    abort.abort();
    expect(await work).toBe('ABORTED');
    await large.close();
    // Nothing of it runs on.
    expect(stats()).toMatchObject({ queued: 0, running: 0 });
    expect(stats().completed - before).toBeLessThan(200);
  });

  it('after the end changes nothing', async () => {
    const abort = new AbortController();
    const results = await model.explain(imagesOf(VIT, 2), { method: 'gae', signal: abort.signal });
    abort.abort();
    expect(results).toHaveLength(2);
    expect(await model.explain(imagesOf(VIT, 2), { method: 'gae' })).toHaveLength(2);
  });

  it('leaves no listener on the signal', async () => {
    const { signal } = new AbortController();
    await model.explain(imagesOf(VIT, 6), { method: 'gae', signal });
    await codeOf(model.explain(imagesOf(VIT, 30), { method: 'gae', signal }));
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('one call does not disturb the others of its batch', async () => {
    const images = imagesOf(VIT, 3);
    const options = { method: 'gae', raw: true } as const;
    const alone = [
      await model.explain(imageOf(images, 0), options),
      await model.explain(imageOf(images, 2), options),
    ].flat();
    await occupy();
    const abort = new AbortController();
    const [first, second, third] = [0, 1, 2].map((i) =>
      model.explain(imageOf(images, i), { ...options, ...(i === 1 && { signal: abort.signal }) }),
    );
    const refused = codeOf(second!);
    await until('three images in the queue', () => stats().queued === 3);
    abort.abort();
    await release();
    expect(await refused).toBe('ABORTED');
    const others = [...(await first!), ...(await third!)];
    // A product of a few rows is summed in another order than one of many: within float32's rounding, not to the bit.
    for (const [i, { maps }] of others.entries()) {
      const again = async (seed: number): Promise<Float32Array> =>
        (await model.explain(nudged(imageOf(images, 2 * i), seed), options))[0]!.maps[0]!.data;
      await expectRounded(alone[i]!.maps[0]!.data, maps[0]!.data, `map ${i}`, { model, again });
    }
  });

  it("one image's fault does not disturb the others of its batch", async () => {
    await occupy();
    const broken = imagesOf(VIT, 1, 5);
    broken.data[7] = NaN;
    const works = [
      model.explain(imagesOf(VIT, 1, 4), { method: 'gae' }),
      model.explain(broken, { method: 'gae' }),
      model.explain(imagesOf(VIT, 1, 6), { method: 'gae' }),
    ].map(codeOf);
    await until('three images in the queue', () => stats().queued === 3);
    await release();
    expect(await Promise.all(works)).toEqual(['resolved', 'INVALID_INPUT', 'resolved']);
  });
});

describe('a short request', () => {
  const options = { method: 'rise', masks: 2000, raw: true, memory: 1, seed: 3 } as const;

  it('passes a long one, and neither map changes by a bit', async () => {
    const images = imagesOf(VIT, 2);
    const [first, second] = [imageOf(images, 0), imageOf(images, 1)];
    const maps = (explanations: readonly { readonly maps: readonly { readonly data: Float32Array }[] }[]): unknown =>
      explanations.map((each) => each.maps.map(({ data }) => data));
    const alone = [await model.explain(first, options), await model.explain(second, { method: 'gae', raw: true })];
    const order: string[] = [];
    const note = async <T>(name: string, work: Promise<T>): Promise<T> => {
      const result = await work;
      order.push(name);
      return result;
    };
    const long = note('long', model.explain(first, options));
    await until('the engine to be busy', () => stats().running > 0);
    const short = note('short', model.explain(second, { method: 'gae', raw: true }));
    const together = [await long, await short];
    expect(order).toEqual(['short', 'long']);
    expect(together.map(maps)).toEqual(alone.map(maps));
  });
});

describe('clients', () => {
  it('take turns', async () => {
    await occupy();
    const order: string[] = [];
    // Of different options, so that no two share a batch.
    const ask = async (client: string, top: number): Promise<void> => {
      await model.predict(imagesOf(VIT, 1), { client, top });
      order.push(`${client}${top}`);
    };
    const works: Promise<void>[] = [];
    for (const [i, client] of ['a', 'a', 'a', 'b'].entries()) {
      works.push(ask(client, i + 1));
      await until(`${i + 1} images in the queue`, () => stats().queued === i + 1);
    }
    await release();
    await Promise.all(works);
    expect(order).toEqual(['a1', 'b4', 'a2', 'a3']);
  });

  it.each([['x'.repeat(257)], [3]])('are named by a text of at most 256 characters', async (client) => {
    const refused = { code: 'INVALID_OPTION', message: expect.stringContaining('256 characters') as string };
    await expect(model.predict(imagesOf(VIT, 1), { client: client as string })).rejects.toMatchObject(refused);
    await expect(model.explain(imagesOf(VIT, 1), { method: 'gae', client: client as string })).rejects.toMatchObject(
      refused,
    );
  });
});
