import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';

import { photo, post, serve } from './support.js';

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
const manager = new AsyncLocalStorageContextManager().enable();

beforeAll(() => context.setGlobalContextManager(manager));
afterAll(async () => {
  await provider.shutdown();
  context.disable();
  trace.disable();
});

it('gives a span for each request that runs a model, with one for each stage below it', async () => {
  const { address, service, stop } = await serve({
    models: { vit: 'vit-tiny-shapes' },
    load: { device: 'cpu' },
    tracer: provider.getTracer('test'),
  });
  onTestFinished(stop);
  await service.ready();
  await fetch(`${address}/health`);
  expect(exporter.getFinishedSpans()).toEqual([]);

  expect((await post(`${address}/explain`, photo('cat.jpg'), { 'content-type': 'image/jpeg' })).status).toBe(200);
  const spans = exporter.getFinishedSpans();
  expect(spans.map(({ name }) => name)).toEqual([
    'sightline preprocess',
    'sightline explain',
    'sightline postprocess',
    'sightline explain',
  ]);
  const whole = spans.at(-1)!;
  expect(whole.parentSpanContext).toBeUndefined();
  for (const stage of spans.slice(0, -1)) {
    expect(stage.parentSpanContext?.spanId).toBe(whole.spanContext().spanId);
    expect(stage.attributes).toEqual({ 'sightline.model': 'vit' });
  }
  exporter.reset();

  expect((await post(`${address}/explain`, Buffer.from('no image'), { 'content-type': 'image/jpeg' })).status).toBe(
    400,
  );
  const failed = exporter.getFinishedSpans().at(-1)!;
  expect([failed.name, failed.status.code]).toEqual(['sightline explain', 2]);
  expect(failed.events.map(({ name }) => name)).toEqual(['exception']);
});
