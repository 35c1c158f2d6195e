import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { defineMethod, symbolic, type Model } from '../../../lib/index.js';
import { pixelsOf } from '../../support/models.js';
import { expectRounded, nudged } from '../../support/rounding.js';
import { difference, imagesOf, loadSubject, mapAt, pictureOf, targetsOf, unit } from '../attention/references.js';
import { cellSums, everyOther, referenceOf, SUBJECTS } from './references.js';

const { grad, mean, narrow, select } = symbolic;

/** What docs/parity.md promises. */
const PROMISED = 1e-4;

const ATTRIBUTIONS = [
  ['start0', {}],
  ['start0', { preset: 'chefer-2021-notebook' }],
  ['start1', { startBlock: 1 }],
  ['start1', { preset: 'chefer-2021-evaluation' }],
] as const;

const GAMMAS = {
  plain: { linearGamma: 0, convGamma: 0 },
  gamma: {},
  strong: { linearGamma: 1, convGamma: 100 },
} as const;

/** Relevance of one block's attention, mean over heads, in the classifier's row. */
const relevanceOf = (block: number) =>
  defineMethod({
    name: 'test-relevance',
    options: z.strictObject({}),
    usesLayer: false,
    isClassSpecific: true,
    reasonAgainst: () => null,
    map: ({ model }) => {
      const run = model.run(model.image, { rule: 'lrp' });
      const relevance = mean(grad(run.score, run.attention(block)), 'heads');
      const { classToken, prefix, height, width } = model.inspection.tokens!;
      const row =
        classToken === null
          ? mean(narrow(relevance, 'queries', prefix, height * width), 'queries')
          : select(relevance, 'queries', classToken);
      return model.patches(row, 'keys');
    },
  });

describe.each(SUBJECTS)('%s', (subject) => {
  const reference = referenceOf(subject);
  const images = imagesOf(reference);
  const targets = targetsOf(reference);
  // Relevance divides by values near zero: the peer's own float32 maps lie farther than 1e-4 from its float64 ones, the
  // reference, by chance more or less: what eight of its runs reached is a sample.
  const tolerance = (key: string, image: number): number =>
    Math.max(PROMISED, 4 * Number(reference.get(`rounding.${key}`)!.data[image]));
  let model: Model;

  beforeAll(async () => {
    model = await loadSubject(subject, reference);
  });
  afterAll(() => model.close());

  const blocks = [...reference.keys()].filter((key) => key.startsWith('maps.relevance.block'));
  it.each(blocks)('attention gets the relevance of %s', async (key) => {
    const explained = await model.explain(images, {
      method: relevanceOf(Number(/\d+$/.exec(key)![0])),
      targets,
      size: 'grid',
      raw: true,
    });
    for (const [i, { maps }] of explained.entries()) {
      expect(difference(unit(maps[0]!.data), unit(mapAt(reference.get(key)!, i).data))).toBeLessThanOrEqual(
        tolerance(key.slice('maps.'.length), i),
      );
    }
  });

  it.each(ATTRIBUTIONS)("transformer-attribution is the authors' map, %s %o", async (start, options) => {
    const key = `transformer-attribution.${start}`;
    const explained = await model.explain(images, {
      method: 'transformer-attribution',
      ...options,
      targets,
      size: 'grid',
      raw: true,
    });
    for (const [i, { maps }] of explained.entries()) {
      const peer = mapAt(reference.get(`maps.${key}`)!, i);
      expect(maps[0]!.shape).toEqual(peer.shape);
      expect(difference(unit(maps[0]!.data), unit(peer.data))).toBeLessThanOrEqual(tolerance(key, i));
    }
  });

  describe.each(['attn-lrp', 'cp-lrp'] as const)('%s', (method) => {
    it.each(Object.entries(GAMMAS))("gives LXT's relevance, %s %o", async (name, gammas) => {
      const request = { method, ...gammas, size: 'image', raw: true } as const;
      const explained = await model.explain(images, { ...request, targets });
      const sums = reference.get(`maps.${method}.${name}.patches`)!;
      const pixels = reference.get(`maps.${method}.${name}.pixels`);
      for (const [i, { maps }] of explained.entries()) {
        const map = maps[0]!;
        const expected = mapAt(sums, i);
        const again = async (seed: number) => {
          const picture = pictureOf(await pixelsOf(model, images.length === 1 ? images[0]! : images[i]!), i);
          return (await model.explain(nudged(picture, seed), { ...request, targets: targets[i]! }))[0]!.maps[0]!;
        };
        const what = `${subject} ${method} ${name}, image ${i}`;
        const cells = (of: typeof map) => cellSums(of, expected.shape as [number, number]);
        await expectRounded(cells(map), expected.data, `${what}, by cells`, {
          model,
          promised: PROMISED,
          again: async (seed) => cells(await again(seed)),
        });
        if (pixels === undefined) continue;
        const step = Math.round(map.shape[0] / pixels.shape[1]!);
        await expectRounded(everyOther(map, step), mapAt(pixels, i).data, `${what}, by pixels`, {
          model,
          promised: PROMISED,
          again: async (seed) => everyOther(await again(seed), step),
        });
      }
    });
  });
});
