import { assertType, describe, expectTypeOf, it } from 'vitest';
import { z } from 'zod';

import { defineMethod, Model, type Capture, type Explanation, type HeatMap, type Input, type NamedOptions, type Prediction, symbolic } from '../../lib/index.js';

declare const model: Model;
declare const image: Input;

describe('explain', () => {
  it('types results by the method asked for', async () => {
    const [rollout] = await model.explain([image], { method: 'attention-rollout', targets: ['top1'], headFusion: 'max', discardRatio: 0.9 });
    expectTypeOf(rollout!.method).toEqualTypeOf<'attention-rollout'>();
    expectTypeOf(rollout!.options.headFusion).toEqualTypeOf<'mean' | 'max' | 'min' | number>();
    expectTypeOf(rollout!.options.discardRatio).toEqualTypeOf<number>();
    expectTypeOf(rollout!.options.preset).toEqualTypeOf<'abnar-2020' | 'chefer-2021-rollout' | 'vit-explain' | 'mmeendez8' | undefined>();
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
    void model.explain(image, { method: 'grad-cam', layer: ['a', 'b'], fusion: 'product', augmentationSmoothing: true });
    // @ts-expect-error a score is a value
    void model.explain(image, { method: 'gae', score: () => 1 });
    // @ts-expect-error rollout has no layers to fuse
    void model.explain(image, { method: 'attention-rollout', fusion: 'max' });
  });

  it('types each result of several methods by its own', async () => {
    const [first] = await model.explain([image], [{ method: 'attention-rollout' }, { method: 'grad-cam', layer: 'layer4' }]);
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

describe('Model', () => {
  it('is disposable', () => {
    expectTypeOf<Model>().toExtend<AsyncDisposable>();
    // @ts-expect-error only load makes one
    void new Model();
  });
});
