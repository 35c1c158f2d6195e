import type { RequestListener } from 'node:http';

import type { FastifyPluginAsync } from 'fastify';
import { assertType, describe, expectTypeOf, it } from 'vitest';
import type { Sharp } from 'sharp';

import {
  bundledModels,
  contactSheet,
  defineMethod,
  describeMethod,
  describeMethods,
  type ERROR_CODES,
  getThreads,
  Model,
  planesSheet,
  setThreads,
  symbolic,
  z,
  type Capture,
  type ErrorCode,
  type Explanation,
  type GeneratedImage,
  type HeatMap,
  type Input,
  type MethodDescription,
  type ModelCard,
  type ModelInspection,
  type NamedOptions,
  type Picture,
  type PictureFormat,
  type Prediction,
  type SightlineError,
} from '../../lib/index.js';
import { bench, type BenchReport } from '../../lib/bench/index.js';
import { sightline, type SightlineFastifyOptions } from '../../lib/service/fastify.js';
import { createService, nodeHandler } from '../../lib/service/http.js';

declare const model: Model;
declare const image: Input;

describe('explain', () => {
  it('types results by the method asked for', async () => {
    const [rollout] = await model.explain([image], {
      method: 'attention-rollout',
      targets: ['top1'],
      headFusion: 'max',
      discardRatio: 0.9,
    });
    expectTypeOf(rollout!.method).toEqualTypeOf<'attention-rollout'>();
    expectTypeOf(rollout!.options.headFusion).toEqualTypeOf<'mean' | 'max' | 'min' | number>();
    expectTypeOf(rollout!.options.discardRatio).toEqualTypeOf<number>();
    expectTypeOf(rollout!.options.preset).toEqualTypeOf<
      'abnar-2020' | 'chefer-2021-rollout' | 'vit-explain' | 'mmeendez8' | undefined
    >();
    expectTypeOf(rollout!.maps).toEqualTypeOf<readonly HeatMap<null>[]>();
    expectTypeOf(rollout!.maps[0]!.data).toEqualTypeOf<Float32Array>();
    expectTypeOf(rollout!.maps[0]!.shape).toEqualTypeOf<readonly [height: number, width: number]>();
    expectTypeOf(rollout!.predictions).toEqualTypeOf<readonly Prediction[]>();

    const [gradCam] = await model.explain(image, { method: 'grad-cam', layer: 'layer4', targets: [243, 'tabby'] });
    expectTypeOf(gradCam!.maps[0]!.layer).toEqualTypeOf<string>();
    expectTypeOf(gradCam!.options).toEqualTypeOf<{ eigenSmoothing: boolean; compat?: 'captum' | undefined }>();
    const [cam] = await model.explain(image, { method: 'cam' });
    expectTypeOf(cam!.options.eigenSmoothing).toEqualTypeOf<boolean>();
    expectTypeOf(cam!.chunk).toEqualTypeOf<number | null>();
  });

  it('needs no method', async () => {
    const [unnamed] = await model.explain(image);
    expectTypeOf(unnamed!).toEqualTypeOf<Explanation>();
    void model.explain([image], { targets: ['top2'], size: 'grid' });
    // @ts-expect-error which layers there are, only a method can say
    void model.explain(image, { layer: 'layer4' });
  });

  it('takes differences, scores and scalars of the user’s own', () => {
    void model.explain(image, { method: 'gae', targets: [{ of: 'cat', against: 3 }], score: 'probability' });
    void model.explain(image, { method: 'gae', score: ({ logits }) => symbolic.max(logits, 'classes') });
    void model.explain(image, {
      method: 'grad-cam',
      layer: ['a', 'b'],
      fusion: 'product',
      augmentationSmoothing: true,
    });
    // @ts-expect-error a score is a value
    void model.explain(image, { method: 'gae', score: () => 1 });
    // @ts-expect-error rollout has no layers to fuse
    void model.explain(image, { method: 'attention-rollout', fusion: 'max' });
  });

  it('types each result of several methods by its own', async () => {
    const [first] = await model.explain(
      [image],
      [{ method: 'attention-rollout' }, { method: 'grad-cam', layer: 'layer4' }],
    );
    expectTypeOf(first![0].method).toEqualTypeOf<'attention-rollout'>();
    expectTypeOf(first![1].maps[0]!.layer).toEqualTypeOf<string>();
  });

  it('narrows a method that is one of several', async () => {
    const options = {} as NamedOptions<'cam' | 'gae'>;
    const [explained] = await model.explain(image, options);
    expectTypeOf(explained!.method).toEqualTypeOf<'cam' | 'gae'>();
    if (explained!.method === 'gae') expectTypeOf(explained!.options.startBlock).toEqualTypeOf<number>();
  });

  it('refuses options of other methods', () => {
    // @ts-expect-error cam fuses no heads
    void model.explain(image, { method: 'cam', headFusion: 'max' });
    // @ts-expect-error attention rollout explains no layer
    void model.explain(image, { method: 'attention-rollout', layer: 'layer4' });
    // @ts-expect-error there is no such fusion
    void model.explain(image, { method: 'attention-rollout', headFusion: 'median' });
    // @ts-expect-error there is no such method
    void model.explain(image, { method: 'grad-camera' });
  });

  it('types a method of the user’s own by its options', async () => {
    const method = defineMethod({
      name: 'mine',
      options: z.strictObject({ strength: z.number().default(1) }),
      usesLayer: false,
      isClassSpecific: false,
      reasonAgainst: () => null,
      map: ({ model: symbolic, options }) => {
        expectTypeOf(options).toEqualTypeOf<{ strength: number }>();
        return symbolic.image;
      },
    });
    const [explained] = await model.explain(image, { method, options: { strength: 2 } });
    expectTypeOf(explained!.options).toEqualTypeOf<{ strength: number }>();
  });
});

describe('capture', () => {
  it('gives tensors by name and by site', async () => {
    const raw = await model.capture([image], { features: ['layer4'], attention: 'all', gradients: { target: 243 } });
    expectTypeOf(raw).toEqualTypeOf<Capture>();
    expectTypeOf(raw.features['layer4']!.data).toEqualTypeOf<Float32Array>();
    assertType<readonly number[]>(raw.attention[0]!.shape);
    // @ts-expect-error gradients are of a target
    void model.capture(image, { gradients: true });
  });
});

describe('pictures', () => {
  it('are of a class of our own', () => {
    const map = {} as HeatMap;
    expectTypeOf(map.overlay({ legend: true })).toEqualTypeOf<Picture>();
    expectTypeOf(
      contactSheet([[{ image: map.overlay() }, { image: {} as Sharp }, { image: new Uint8Array() }, null]]),
    ).toEqualTypeOf<Promise<Picture>>();
    expectTypeOf(planesSheet([])).toEqualTypeOf<Promise<Picture>>();
    expectTypeOf<GeneratedImage['picture']>().returns.toEqualTypeOf<Picture>();
    const picture = map.overlay();
    expectTypeOf(picture.toBuffer({ format: 'webp', quality: 80 })).toEqualTypeOf<Promise<Buffer>>();
    expectTypeOf(picture.sharp()).toEqualTypeOf<Promise<Sharp>>();
    expectTypeOf(picture.toFile('a.png')).resolves.toEqualTypeOf<{
      readonly width: number;
      readonly height: number;
      readonly bytes: number;
      readonly format: PictureFormat;
    }>();
    // @ts-expect-error there is no such format
    void picture.toBuffer({ format: 'bmp' });
    // Steps of sharp start from sharp().
    expectTypeOf(picture).not.toHaveProperty('resize');
  });
});

describe('what is known without a model', () => {
  it('is typed', () => {
    expectTypeOf(describeMethods()).toEqualTypeOf<MethodDescription[]>();
    expectTypeOf(describeMethod('grad-cam').options.properties['eigenSmoothing']!.description).toEqualTypeOf<
      string | undefined
    >();
    // @ts-expect-error there is no such method
    describeMethod('gard-cam');
    expectTypeOf(bundledModels()).toEqualTypeOf<Promise<ModelCard[]>>();
    expectTypeOf<keyof typeof ERROR_CODES>().toEqualTypeOf<ErrorCode>();
    expectTypeOf<SightlineError['code']>().toEqualTypeOf<ErrorCode>();
    expectTypeOf(getThreads()).toEqualTypeOf<number>();
    expectTypeOf(setThreads(2)).toEqualTypeOf<void>();
    // @ts-expect-error a number is expected
    setThreads('2');
  });

  it('has its service apart', () => {
    const service = createService({ models: { vit: 'vit.pt' }, methods: ['gae'], limits: { maxTargets: 4 } });
    expectTypeOf(service.fetch).toEqualTypeOf<(request: Request) => Promise<Response>>();
    expectTypeOf(nodeHandler(service)).toExtend<RequestListener>();
    expectTypeOf(sightline).toExtend<FastifyPluginAsync<SightlineFastifyOptions>>();
    // @ts-expect-error there is no such method
    createService({ models: { vit: 'vit.pt' }, methods: ['no-such-method'] });
  });

  it('has its benchmark apart', () => {
    expectTypeOf(bench({ models: ['resnet-tiny-shapes'] })).toEqualTypeOf<Promise<BenchReport>>();
  });
});

describe('Model', () => {
  it('is aborted by signals', () => {
    const { signal } = new AbortController();
    expectTypeOf(Model.load('vit.pt', { signal })).toEqualTypeOf<Promise<Model>>();
    expectTypeOf(model.inspect({ signal })).toEqualTypeOf<Promise<ModelInspection>>();
    expectTypeOf(model.inspect({ height: 224, width: 224, signal })).toEqualTypeOf<Promise<ModelInspection>>();
    expectTypeOf(model.inspect()).toEqualTypeOf<Promise<ModelInspection>>();
    // @ts-expect-error a controller is no signal
    void model.inspect({ signal: new AbortController() });
  });

  it('has notes to read, and not to write', () => {
    expectTypeOf(model.notes).toEqualTypeOf<readonly string[]>();
    expectTypeOf(model.notes).not.toHaveProperty('push');
    // @ts-expect-error nobody replaces them
    model.notes = [];
  });

  it('lists as many classes as are asked for', () => {
    void model.explain(image, { method: 'grad-cam', top: 3 });
    void model.explain(image, { top: 3 });
    void model.predict(image, { top: 3 });
    // @ts-expect-error a number is expected
    void model.explain(image, { method: 'grad-cam', top: '3' });
  });

  it('is disposable', () => {
    expectTypeOf<Model>().toExtend<AsyncDisposable>();
    // @ts-expect-error only load makes one
    void new Model();
  });
});
