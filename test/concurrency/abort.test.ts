import { getEventListeners } from 'node:events';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Model, SightlineError, stats } from '../../lib/index.js';
import { cardOf, CNN, fence, gate, imagesOf, until, VIT } from './models.js';

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'resolved',
    ({ code }: { code?: string }) => code ?? 'no code',
  );

describe('an abort behind another request', () => {
  let model: Model;
  let release: () => Promise<void>;

  beforeEach(async () => {
    model = await Model.load(CNN.path, { device: 'cpu', card: cardOf(CNN), maxQueue: 6 });
    const { method, started } = gate();
    const abort = new AbortController();
    const work = codeOf(model.explain(imagesOf(CNN, 1), { method, signal: abort.signal, memory: 1 }));
    await started();
    const fenced = fence(model, CNN);
    release = async () => {
      release = () => Promise.resolve();
      const { failed } = stats();
      abort.abort();
      expect(await work).toBe('ABORTED');
      // It rejects before the engine has left it.
      await until('the engine to leave it', () => stats().failed > failed);
      await fenced;
    };
  });
  afterEach(async () => {
    await release();
    await model.close();
    expect(stats()).toMatchObject({ models: 0, queued: 0, running: 0 });
  });

  it('rejects at once, and gives its places to others, while the engine is still busy', async () => {
    const abort = new AbortController();
    const work = codeOf(model.explain(imagesOf(CNN, 6), { method: 'grad-cam', signal: abort.signal }));
    await until('six images in the queue', () => stats().queued === 6);
    const { completed, failed } = stats();
    abort.abort();
    expect(await work).toBe('ABORTED');
    expect(stats()).toMatchObject({ queued: 0, running: 1, completed, failed: failed + 6 });
    const after = model.explain(imagesOf(CNN, 6), { method: 'grad-cam' });
    await until('six others in the queue', () => stats().queued === 6);
    await release();
    expect(await after).toHaveLength(6);
  });

  it('takes only its own call out of the queue', async () => {
    const abort = new AbortController();
    const first = model.explain(imagesOf(CNN, 2), { method: 'grad-cam' });
    const second = codeOf(model.explain(imagesOf(CNN, 2), { method: 'grad-cam', signal: abort.signal }));
    const third = model.explain(imagesOf(CNN, 2), { method: 'grad-cam' });
    await until('six images in the queue', () => stats().queued === 6);
    abort.abort();
    expect(await second).toBe('ABORTED');
    expect(stats().queued).toBe(4);
    await release();
    expect([...(await first), ...(await third)]).toHaveLength(4);
  });

  it.each([
    ['explain', (images, signal) => model.explain(images, { method: 'rise', masks: 4000, signal })],
    ['capture', (images, signal) => model.capture(images, { features: ['layer1'], signal })],
    ['predict', (images, signal) => model.predict(images, { signal })],
  ] satisfies [string, (images: ReturnType<typeof imagesOf>, signal: AbortSignal) => Promise<unknown>][])(
    'is heard by %s while a new size is inspected',
    async (_, call) => {
      const abort = new AbortController();
      const { completed, failed } = stats();
      const work = codeOf(call(imagesOf({ height: 72, width: 80 }, 1), abort.signal));
      // Its inspection waits in the queue from here on; it counts as no image.
      await new Promise((resolve) => setTimeout(resolve, 20));
      abort.abort();
      expect(await work).toBe('ABORTED');
      expect(stats()).toMatchObject({ running: 1 });
      await release();
      // Nothing of it was computed: only the one that kept the engine busy ended.
      expect(await model.predict(imagesOf({ height: 72, width: 80 }, 1))).toHaveLength(1);
      expect(stats()).toMatchObject({ completed: completed + 1, failed: failed + 1 });
    },
  );

  it('is heard while a size is inspected for a model that runs on no usual one', async () => {
    const abort = new AbortController();
    const reason = new Error('the client hung up');
    const work = model
      .explain(imagesOf({ height: 88, width: 80 }, 1), { method: 'grad-cam', signal: abort.signal })
      .catch((error: unknown) => error);
    abort.abort(reason);
    expect(await work).toMatchObject({ name: 'AbortError', code: 'ABORTED', cause: reason });
  });
});

describe('an abort of what makes a model ready, while the engine is busy', () => {
  let model: Model;
  let release: () => Promise<void>;
  beforeEach(async () => {
    model = await Model.load(CNN.path, { device: 'cpu', card: cardOf(CNN) });
    const { method, started } = gate();
    const abort = new AbortController();
    const work = codeOf(model.explain(imagesOf(CNN, 1), { method, signal: abort.signal, memory: 1 }));
    await started();
    release = async () => {
      release = () => Promise.resolve();
      const { failed } = stats();
      abort.abort();
      expect(await work).toBe('ABORTED');
      // It rejects before the engine has left it.
      await until('the engine to leave it', () => stats().failed > failed);
    };
  });
  afterEach(async () => {
    await release();
    await model.close();
  });

  it('Model.load rejects at once with the reason, and frees what it loads in the background', async () => {
    const abort = new AbortController();
    const reason = new Error('the client hung up');
    const loading = Model.load(VIT.path, { device: 'cpu', card: cardOf(VIT), signal: abort.signal }).catch(
      (error: unknown) => error,
    );
    abort.abort(reason);
    const error = await loading;
    expect(error).toBeInstanceOf(SightlineError);
    expect(error).toMatchObject({ name: 'AbortError', code: 'ABORTED', cause: reason });
    // The engine still computes: nothing of the load had to end first.
    expect(stats()).toMatchObject({ running: 1 });
    await release();
    await until('the other model to be freed', () => stats().models === 1);
    const { predictions } = (await model.predict(imagesOf(CNN, 1)))[0]!;
    expect(predictions).toHaveLength(5);
  });

  it('inspect rejects at once with the reason, and the next call at that size is answered', async () => {
    const abort = new AbortController();
    const reason = new Error('the client hung up');
    const inspecting = model.inspect({ height: 96, width: 72, signal: abort.signal }).catch((error: unknown) => error);
    abort.abort(reason);
    expect(await inspecting).toMatchObject({ name: 'AbortError', code: 'ABORTED', cause: reason });
    expect(stats()).toMatchObject({ running: 1 });
    await release();
    expect(await model.inspect({ height: 96, width: 72 })).toMatchObject({ height: 96, width: 72 });
  });

  it('a signal that was aborted before begins nothing', async () => {
    const signal = AbortSignal.abort();
    // Not even the file is looked for.
    expect(await codeOf(Model.load('no/such.pt', { signal }))).toBe('ABORTED');
    expect(await codeOf(model.inspect({ signal }))).toBe('ABORTED');
  });

  it.each([
    [{ height: 64 }],
    [{ width: 64 }],
    [{ height: 0, width: 64 }],
    [{ height: 64, width: 16385 }],
    [{ height: 1.5, width: 64 }],
    [{ size: 64 }],
    [{ signal: 'now' }],
  ])('inspect refuses %j', async (options) => {
    expect(await codeOf(model.inspect(options as never))).toBe('INVALID_OPTION');
  });

  it.each([['now'], [{}], [null]])('Model.load refuses %j as a signal', async (signal) => {
    expect(await codeOf(Model.load(VIT.path, { signal: signal as never }))).toBe('INVALID_OPTION');
  });
});

describe('a batch that waits for more images', () => {
  it('does not keep an aborted request until its delay is over', async () => {
    const maxDelay = 60_000;
    const model = await Model.load(CNN.path, { device: 'cpu', card: cardOf(CNN), maxDelay, maxBatch: 2 });
    const abort = new AbortController();
    const begun = performance.now();
    const work = codeOf(model.predict(imagesOf(CNN, 1), { signal: abort.signal }));
    await until('the batch to be gathered', () => stats().running === 1);
    abort.abort();
    expect(await work).toBe('ABORTED');
    await until('the batch to be given up', () => stats().running === 0);
    expect(performance.now() - begun).toBeLessThan(maxDelay);
    expect(stats()).toMatchObject({ queued: 0, running: 0 });
    // The engine waits no longer: a full batch runs.
    expect(await model.predict(imagesOf(CNN, 2))).toHaveLength(2);
    await model.close();
  });
});

describe('an abort amid one long step', () => {
  const LARGE = { height: 512, width: 512 };
  let model: Model;
  beforeEach(async () => {
    model = await Model.load(CNN.path, { device: 'cpu', card: cardOf({ ...CNN, ...LARGE }) });
    await model.predict(imagesOf(LARGE, 1));
  });
  afterEach(async () => {
    await model.close();
    expect(stats()).toMatchObject({ models: 0, queued: 0, running: 0 });
  });

  it.each<[string, (signal: AbortSignal) => Promise<unknown>]>([
    ['predict', (signal) => model.predict(imagesOf(LARGE, 4), { signal })],
    ['explain', (signal) => model.explain(imagesOf(LARGE, 4), { method: 'gradient', size: 'grid', signal })],
    ['explain by the method that suits', (signal) => model.explain(imagesOf(LARGE, 4), { signal })],
    ['capture', (signal) => model.capture(imagesOf(LARGE, 4), { features: ['layer4'], signal })],
    ['maximize', (signal) => model.maximize({ class: 0, steps: 8, signal })],
  ])('rejects %s before anything that the engine says is heard', async (_, call) => {
    const abort = new AbortController();
    const reason = new Error('the client hung up');
    let outcome: unknown = 'none';
    const work = call(abort.signal).then(
      (value) => (outcome = value),
      (error: unknown) => (outcome = error),
    );
    await until('the engine to be amid it', () => stats().running > 0);
    abort.abort(reason);
    // Answers of the engine come by the event loop, which does not turn within these.
    for (let i = 0; i < 100; i++) await Promise.resolve();
    expect(outcome).toMatchObject({ name: 'AbortError', code: 'ABORTED', cause: reason });
    await work;
  });

  it('keeps its places until the engine has left it, which close waits for', async () => {
    const { method, started } = gate();
    const abort = new AbortController();
    const work = codeOf(model.explain(imagesOf(LARGE, 1), { method, signal: abort.signal, memory: 1 }));
    await started();
    const { failed } = stats();
    abort.abort();
    const closed = model.close();
    expect(await work).toBe('ABORTED');
    await closed;
    expect(stats()).toMatchObject({ models: 0, running: 0, failed: failed + 1 });
  });

  it('leaves the engine to the next call', async () => {
    const abort = new AbortController();
    const work = codeOf(model.predict(imagesOf(LARGE, 4), { signal: abort.signal }));
    await until('the engine to be amid it', () => stats().running > 0);
    const { completed } = stats();
    abort.abort();
    expect(await work).toBe('ABORTED');
    expect(await model.predict(imagesOf(LARGE, 1))).toHaveLength(1);
    expect(stats()).toMatchObject({ completed: completed + 1 });
  });
});

describe('a signal of many calls', () => {
  it('has one listener, and none at the end', async () => {
    const model = await Model.load(VIT.path, { device: 'cpu', card: cardOf(VIT) });
    const warnings: Error[] = [];
    const note = (warning: Error): void => void warnings.push(warning);
    process.on('warning', note);
    const { signal } = new AbortController();
    const works = Array.from({ length: 25 }, () => model.explain(imagesOf(VIT, 1), { method: 'gae', signal }));
    await until('all to wait', () => stats().queued + stats().running > 0);
    expect(getEventListeners(signal, 'abort').length).toBeLessThanOrEqual(1);
    expect((await Promise.all(works)).flat()).toHaveLength(25);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', note);
    expect(warnings).toEqual([]);
    await model.close();
  });
});
