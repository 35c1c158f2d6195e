import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';

import { Model, SightlineError, type SanityOptions } from '../../lib/index.js';
import { checkSanity, type Checked } from '../../lib/requests/sanity/check.js';
import { similarityOf } from '../../lib/requests/sanity/similarity.js';
import { stagesOf } from '../../lib/requests/sanity/stages.js';
import { loadSmall, plainCard } from '../support/models.js';

const photo = (name: string): string => fileURLToPath(new URL(`../../models/eval/${name}`, import.meta.url));
const IMAGES = ['000.png', '001.png'].map(photo);

let cnn: Model;
let vit: Model;
beforeAll(async () => {
  [cnn, vit] = (await Promise.all(
    ['resnet-tiny-shapes', 'vit-tiny-shapes'].map((name) => Model.load(name, { device: 'cpu', maxBatch: 1 })),
  )) as [Model, Model];
});
afterAll(() => Promise.all([cnn.close(), vit.close()]));

const scoresOf = async (model: Model): Promise<Float32Array> => {
  const [answer] = await model.predict(IMAGES[0]!, { top: model.labels.length });
  const scores = new Float32Array(model.labels.length);
  for (const { index, score } of answer!.predictions) scores[index] = score;
  return scores;
};
const shuffled = async (model: Model, layers?: readonly string[]): Promise<Model> => {
  const copy = await model.shuffled({ layers });
  onTestFinished(() => copy.close());
  return copy;
};

describe('the stages of a network, from the scores down', () => {
  it('are its blocks, and layers outside of blocks', async () => {
    const stages = async (model: Model) => stagesOf((await model.inspect()).nodes);
    expect(await stages(cnn)).toEqual(['fc', 'layer4', 'layer3', 'layer2', 'layer1', 'bn1', 'conv1']);
    expect(await stages(vit)).toEqual([
      'head',
      'norm',
      ...[5, 4, 3, 2, 1, 0].map((block) => `blocks.${block}`),
      'patch_embed',
    ]);
  });

  it.each([
    [
      'torchvision-vit-traced',
      [32, 32],
      ['heads', 'encoder.ln', 'encoder.layers.encoder_layer_1', 'encoder.layers.encoder_layer_0', 'conv_proj'],
    ],
    // All lies in a wrapper, and the embeddings beside the blocks.
    [
      'transformers-vit-sdpa-traced',
      [24, 40],
      ['classifier', 'vit.layernorm', 'vit.layers.1', 'vit.layers.0', 'vit.embeddings'],
    ],
    ['timm-swin-traced', [24, 40], ['head', 'norm', 'layers.1', 'layers.0', 'patch_embed']],
  ])('of %s', async (name, [height, width], expected) => {
    const model = await loadSmall(name, { card: plainCard(height!, width!) });
    onTestFinished(() => model.close());
    expect(stagesOf((await model.inspect()).nodes)).toEqual(expected);
  });
});

describe('a model with some of its weights shuffled', () => {
  const features = async (model: Model, ...names: string[]) =>
    (await model.capture(IMAGES[0]!, { features: names })).features;

  it('is the same up to the first of them', async () => {
    const [own, changed] = await Promise.all(
      [cnn, await shuffled(cnn, ['layer4'])].map((each) => features(each, 'layer3', 'layer4')),
    );
    expect(changed!['layer3']!.data).toEqual(own!['layer3']!.data);
    expect(changed!['layer4']!.data).not.toEqual(own!['layer4']!.data);
  });

  it('is the model that is shuffled whole where all its layers are named', async () => {
    const named = await shuffled(cnn, stagesOf((await cnn.inspect()).nodes));
    expect(await scoresOf(named)).toEqual(await scoresOf(await shuffled(cnn)));
    // A parameter in the same way, whatever else is shuffled.
    const [last, twoLast, all] = await Promise.all(
      [['layer1'], ['layer1', 'conv1', 'bn1'], undefined].map((layers) => shuffled(cnn, layers)),
    );
    expect(await scoresOf(last!)).not.toEqual(await scoresOf(twoLast!));
    expect((await features(twoLast!, 'layer1'))['layer1']!.data).toEqual(
      (await features(all!, 'layer1'))['layer1']!.data,
    );
  });

  it('is refused for a layer that has no weights', async () => {
    await expect(cnn.shuffled({ layers: ['fc', 'layer'] })).rejects.toMatchObject({
      code: 'UNKNOWN_NODE',
      message: "The weights of 'layer' cannot be shuffled: no parameter belongs to a layer of that path.",
    });
    await expect(cnn.shuffled({ layers: [] })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });
});

describe('a sanity check', () => {
  it('compares with maps of models shuffled from the scores down', async () => {
    const progress: string[] = [];
    const { steps } = await cnn.sanityCheck(IMAGES, {
      check: 'cascading',
      method: { method: 'grad-cam', layer: 'layer3' },
      targets: ['top2'],
      layers: ['fc', 'layer4', 'conv1'],
      seed: 4,
      onProgress: ({ done, total }) => progress.push(`${done} of ${total}`),
    });
    expect(progress).toEqual(['1 of 3', '2 of 3', '3 of 3']);
    const explain = (model: Model, targets: number[][]) =>
      model.explain(IMAGES, { method: 'grad-cam', layer: 'layer3', targets, raw: true, size: 'image' });
    const predicted = await cnn.predict(IMAGES, { top: 2 });
    const targets = predicted.map(({ predictions }) => predictions.map(({ index }) => index));
    const before = await explain(cnn, targets);
    for (const [at, layers] of [['fc'], ['fc', 'layer4'], ['fc', 'layer4', 'conv1']].entries()) {
      const copy = await cnn.shuffled({ seed: 4, layers });
      const after = await explain(copy, targets);
      await copy.close();
      const { layer, similarities, mean } = steps[at]!;
      expect(layer).toBe(layers.at(-1));
      const expected = before.flatMap(({ maps }, i) =>
        maps.map((map, j) => similarityOf(map, after[i]!.maps[j]!, 'spearman')),
      );
      expect(similarities).toEqual(expected);
      expect(mean).toBe(expected.reduce((sum, value) => sum + value, 0) / 4);
    }
  });

  it('finds the gradient of a network that forgot everything another, and says when a layer alone did', async () => {
    const images = Array.from({ length: 4 }, (_, i) => photo(`00${i}.png`));
    const check = (check: SanityOptions['check'], more: Partial<SanityOptions> = {}) =>
      cnn.sanityCheck(images, { check, method: 'gradient', ...more });
    const { steps } = await check('cascading');
    expect(steps.map(({ layer }) => layer)).toEqual(['fc', 'layer4', 'layer3', 'layer2', 'layer1', 'bn1', 'conv1']);
    // Asked as the check asks, so that the batches are the same.
    const copy = await shuffled(cnn);
    const targets = (await cnn.predict(images)).map(({ predictions: [best] }) => [best!.index]);
    const [own, whole] = await Promise.all(
      [cnn, copy].map((model) => model.explain(images, { method: 'gradient', targets, raw: true, size: 'image' })),
    );
    expect(steps.at(-1)!.similarities).toEqual(
      own!.map(({ maps }, i) => similarityOf(maps[0]!, whole![i]!.maps[0]!, 'spearman')),
    );
    expect(steps.at(-1)!.mean).toBeLessThan(0.6);
    const alone = await check('independent', { layers: ['layer2'] });
    expect(alone.steps).toHaveLength(1);
    expect(alone.steps[0]!.similarities).not.toEqual(steps[3]!.similarities);
  });

  it('finds rollout the same for another class, and a method of the class not', async () => {
    const ofOther = (method: 'attention-rollout' | 'gae') => vit.sanityCheck(IMAGES, { check: 'random-logit', method });
    const [same, other] = await Promise.all([ofOther('attention-rollout'), ofOther('gae')]);
    expect(same.steps[0]!.similarities).toEqual([1, 1]);
    for (const similarity of other.steps[0]!.similarities) expect(similarity).toBeLessThan(0.95);
    const [answer] = await vit.explain(IMAGES[0]!, {
      method: 'gae',
      targets: Array.from(vit.labels.keys()),
      raw: true,
      size: 'image',
    });
    const predicted = answer!.predictions[0]!.index;
    // One of the others, by the same measure.
    const figures = answer!.maps
      .filter((_, i) => i !== predicted)
      .map((map) => similarityOf(answer!.maps[predicted]!, map, 'spearman'));
    expect(figures.some((figure) => Math.abs(figure - other.steps[0]!.similarities[0]!) < 1e-4)).toBe(true);
  });

  it('passes over a stage of the network that has no weights, and refuses one that was named', async () => {
    const asked: (readonly string[] | undefined)[] = [];
    const data = Float32Array.from([1, 2, 3, 4]);
    const map = { data, shape: [2, 2], target: { index: 1 } };
    const explain = () => Promise.resolve([{ maps: [map] }]);
    const node = (name: string, operator: string) => ({ name, operator });
    const model = {
      explain,
      inspect: () =>
        Promise.resolve({
          classes: 3,
          hasModuleNames: true,
          nodes: [node('stem', 'conv2d'), node('norm', 'layer_norm'), node('head', 'linear')],
        }),
      shuffled: ({ layers }: { layers?: readonly string[] }) => {
        asked.push(layers);
        return layers?.includes('norm')
          ? Promise.reject(new SightlineError('UNKNOWN_NODE', 'norm has no parameter.'))
          : Promise.resolve({ explain, close: () => Promise.resolve() });
      },
    } as unknown as Checked;
    const progress: string[] = [];
    const { steps } = await checkSanity(
      'a.png',
      {
        check: 'cascading',
        method: 'gradient',
        onProgress: ({ done, total }) => progress.push(`${done} of ${total}`),
      },
      model,
    );
    expect(steps.map(({ layer }) => layer)).toEqual(['head', 'stem']);
    // The last step shuffles all.
    expect(asked).toEqual([['head'], ['head', 'norm'], undefined]);
    expect(progress).toEqual(['1 of 3', '2 of 2']);
    await expect(
      checkSanity('a.png', { check: 'cascading', method: 'gradient', layers: ['norm'] }, model),
    ).rejects.toMatchObject({ code: 'UNKNOWN_NODE' });
  });

  it('is refused in a sentence', async () => {
    const refused = async (options: object, code: string, text: string): Promise<void> => {
      await expect(cnn.sanityCheck(IMAGES, options as SanityOptions)).rejects.toMatchObject({
        code,
        message: expect.stringContaining(text) as string,
      });
    };
    await refused({ check: 'cascade', method: 'gradient' }, 'INVALID_OPTION', 'cascading, independent, random-logit');
    await refused({ check: 'cascading', method: 'gradients' }, 'INVALID_OPTION', 'no method "gradients"');
    await refused({ check: 'cascading', method: 'gae' }, 'METHOD_NOT_APPLICABLE', 'gae');
    await refused({ check: 'cascading', method: 'gradient', layers: ['nothing'] }, 'UNKNOWN_NODE', "'nothing'");
    await refused(
      { check: 'random-logit', method: 'gradient', layers: ['fc'] },
      'INVALID_OPTION',
      '`layers` would do nothing',
    );
    await refused(
      { check: 'cascading', method: { method: 'gradient', targets: [1] } },
      'INVALID_OPTION',
      'takes no `targets`',
    );
    const frozen = await loadSmall('torchvision-resnet-frozen');
    onTestFinished(() => frozen.close());
    await expect(frozen.sanityCheck(IMAGES, { check: 'cascading', method: 'gradient' })).rejects.toMatchObject({
      code: 'METHOD_NOT_APPLICABLE',
      message: expect.stringContaining('constants of the graph') as string,
    });
    const aborted = cnn.sanityCheck(IMAGES, { check: 'cascading', method: 'gradient', signal: AbortSignal.abort() });
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
