import { describe, expect, it } from 'vitest';

import { Model, SightlineError, stats, type NamedOptions } from '../../lib/index.js';
import { cardOf, fence, gate, imagesOf, VIT } from '../concurrency/models.js';

const load = (): Promise<Model> => Model.load(VIT.path, { device: 'cpu', card: cardOf(VIT) });
const gae: NamedOptions<'gae'> = { method: 'gae' };

/** Notes in which order promises settle. */
function recorder(): { order: string[]; note: <T>(name: string, promise: Promise<T>) => Promise<T> } {
  const order: string[] = [];
  return { order, note: (name, promise) => promise.finally(() => order.push(name)) };
}

describe('close', () => {
  it('waits for pending explain, capture, attention and inspect', async () => {
    const model = await load();
    const { order, note } = recorder();
    const works = [
      note('explain', model.explain(imagesOf(VIT, 20), gae)),
      note('capture', model.capture(imagesOf(VIT, 3), { attention: 'all' })),
      note('attention', model.attention(imagesOf(VIT, 1))),
      note('inspect', model.inspect({ height: 24, width: 40 })),
    ];
    await note('close', model.close());
    expect(order.at(-1)).toBe('close');
    expect([...order].sort()).toEqual(['attention', 'capture', 'close', 'explain', 'inspect']);
    const [explained] = await Promise.all(works);
    expect(explained).toHaveLength(20);
    expect(stats()).toMatchObject({ models: 0, weightBytes: 0, queued: 0, running: 0 });
  });

  it('waits for work that fails, too', async () => {
    const model = await load();
    const images = imagesOf(VIT, 1);
    images.data.fill(NaN);
    const failing = expect(model.explain(images, gae)).rejects.toThrow(/NaN/);
    await model.close();
    await failing;
    expect(stats().models).toBe(0);
  });

  it('is idempotent: every call gives the same promise', async () => {
    const model = await load();
    const first = model.close();
    expect(model.close()).toBe(first);
    await first;
    expect(model.close()).toBe(first);
    await model[Symbol.asyncDispose]();
    expect(stats().models).toBe(0);
  });

  it('is what await using calls, after the work of the block', async () => {
    let results: Promise<unknown[]>;
    {
      await using model = await load();
      results = model.explain(imagesOf(VIT, 10), gae);
      expect(stats().models).toBe(1);
    }
    expect(stats().models).toBe(0);
    expect(await results).toHaveLength(10);
  });

  it('frees one of two models of the same archive and leaves the other', async () => {
    const [first, second] = await Promise.all([load(), load()]);
    const { weightBytes } = stats();
    await first.close();
    expect(stats()).toMatchObject({ models: 1, weightBytes: weightBytes / 2 });
    expect(await second.explain(imagesOf(VIT, 1), gae)).toHaveLength(1);
    await second.close();
  });

  it.each<[string, (model: Model) => Promise<unknown>]>([
    ['explain', (model) => model.explain(imagesOf(VIT, 1), gae)],
    ['capture', (model) => model.capture(imagesOf(VIT, 1), { attention: 'all' })],
    ['attention', (model) => model.attention(imagesOf(VIT, 1))],
    ['inspect', (model) => model.inspect()],
    ['inspect at a size that is new', (model) => model.inspect({ height: 48, width: 40 })],
  ])('makes %s reject with MODEL_CLOSED from the moment of the call', async (_, use) => {
    const model = await load();
    const closed = expect.objectContaining({
      code: 'MODEL_CLOSED',
      message: `The model ${VIT.path} is closed; load it again.`,
    });
    const closing = model.close();
    await expect(use(model)).rejects.toEqual(closed);
    await closing;
    const error: unknown = await use(model).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SightlineError);
    expect(error).toEqual(closed);
  });

  it.each([0, 20])('ends work that takes longer than %d ms, and frees the model', async (timeout) => {
    const model = await load();
    const { method, started } = gate();
    const running = model.explain(imagesOf(VIT, 1), { method, memory: 1 }).catch((error: unknown) => error);
    await started();
    const fenced = fence(model, VIT);
    const waiting = model.explain(imagesOf(VIT, 2), gae).catch((error: unknown) => error);
    await model.close({ timeout });
    for (const error of await Promise.all([running, waiting])) {
      expect(error).toMatchObject({
        code: 'ABORTED',
        cause: {
          code: 'MODEL_CLOSED',
          message: `The model ${VIT.path} was closed, and its work in flight took longer than ${timeout} ms.`,
        },
      });
    }
    await fenced;
    expect(stats()).toMatchObject({ models: 0, queued: 0, running: 0 });
  });

  it('ends maximize, too, and a later call may set the time', async () => {
    const model = await load();
    const work = model.maximize({ class: 0, steps: 10_000 }).catch((error: unknown) => error);
    const closing = model.close();
    expect(model.close({ timeout: 0 })).toBe(closing);
    expect(await work).toMatchObject({ code: 'ABORTED', cause: { code: 'MODEL_CLOSED' } });
    await closing;
    expect(stats().models).toBe(0);
  });

  it('leaves work alone that ends in time, and lets the process end', async () => {
    const model = await load();
    const work = model.explain(imagesOf(VIT, 3), gae);
    await model.close({ timeout: 2_147_483_647 });
    expect(await work).toHaveLength(3);
  });

  it.each([-1, 0.5, '1', 2 ** 31])('refuses a time of %j', async (timeout) => {
    const model = await load();
    expect(() => model.close({ timeout: timeout as number })).toThrow(
      expect.objectContaining({
        code: 'INVALID_OPTION',
        message: expect.stringContaining('a whole number of milliseconds from 0 to 2147483647') as string,
      }),
    );
    await model.close();
  });

  it('can follow an abort at once', async () => {
    const model = await load();
    const { method, started } = gate();
    const abort = new AbortController();
    const work = expect(
      model.explain(imagesOf(VIT, 1), { method, signal: abort.signal, memory: 1 }),
    ).rejects.toMatchObject({ code: 'ABORTED' });
    await started();
    abort.abort();
    await model.close();
    await work;
    expect(stats()).toMatchObject({ models: 0, queued: 0, running: 0 });
  });
});
