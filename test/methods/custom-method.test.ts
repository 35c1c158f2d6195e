import { readFileSync } from 'node:fs';

import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { defineMethod, type Method, type Model, SightlineError, symbolic } from '../../lib/index.js';
import { relativeDifference } from '../support/safetensors.js';
import { loadSmall, randomTensor } from '../support/models.js';
import { expectRounded, nudged } from '../support/rounding.js';

const {
  abs,
  accumulate,
  concatenate,
  constant,
  grad,
  iterate,
  mean,
  mul,
  noise,
  relu,
  select,
  square,
  sub,
  sum,
  take,
} = symbolic;
const SIZE = [32, 48] as const;

/** Methods that exist only here: what a user of the package can write, and the loops that later methods stand on. */
const plainGradient = defineMethod({
  name: 'test-gradient',
  options: z.strictObject({}),
  usesLayer: false,
  isClassSpecific: true,
  reasonAgainst: () => null,
  map: ({ model }) => mean(abs(grad(model.output.score, model.output.image)), 'channels'),
});

const smoothGradient = (samples: number, level: number) =>
  defineMethod({
    name: 'test-smooth-gradient',
    options: z.strictObject({}),
    usesLayer: false,
    isClassSpecific: true,
    reasonAgainst: () => null,
    map: ({ model }) =>
      accumulate(model.image, samples, (sample) => {
        const run = model.run(model.image.add(noise(model.image, sample, 7, 'normal').mul(level)));
        return mean(abs(grad(run.score, run.image)), 'channels');
      }).div(samples),
  });

describe('loops of symbolic methods', () => {
  let model: Model;
  const image = randomTensor(2, ...SIZE);
  const raw = { targets: [3], size: 'grid', raw: true } as const;

  beforeAll(async () => {
    model = await loadSmall('torchvision-resnet-traced');
  });
  afterAll(() => model.close());

  it('accumulate over one noiseless sample is the method itself', async () => {
    const [single] = await model.explain(image, { method: plainGradient, ...raw });
    const summed = async (seed = 0): Promise<Float32Array> =>
      (await model.explain(nudged(image, seed), { method: smoothGradient(5, 0), ...raw }))[0]!.maps[0]!.data;
    await expectRounded(await summed(), single!.maps[0]!.data, 'the sum', { model, again: summed });
    expect(Math.max(...single!.maps[0]!.data)).toBeGreaterThan(0);
  });

  it('gives the same sum whatever the chunks and the batch', async () => {
    const method = smoothGradient(6, 0.3);
    const whole = await model.explain(image, { method, ...raw });
    const second = { data: image.data.slice(image.data.length / 2), shape: [1, 3, ...SIZE] };
    const chunked = async (seed = 0): Promise<Float32Array> =>
      (await model.explain(nudged(image, seed), { method, ...raw, memory: 1 }))[1]!.maps[0]!.data;
    const alone = async (seed = 0): Promise<Float32Array> =>
      (await model.explain(nudged(second, seed), { method, ...raw }))[0]!.maps[0]!.data;
    await expectRounded(await chunked(), whole[1]!.maps[0]!.data, 'in chunks', { model, again: chunked });
    await expectRounded(await alone(), whole[1]!.maps[0]!.data, 'alone', { model, again: alone });
    // Noise does something.
    const [plain] = await model.explain(image, { method: plainGradient, ...raw });
    expect(relativeDifference(whole[0]!.maps[0]!.data, plain!.maps[0]!.data)).toBeGreaterThan(0.01);
  });

  it('concatenate keeps every sample: occlusion by halves equals two masked runs', async () => {
    const [height, width] = SIZE;
    const masks = new Float32Array(2 * height * width).fill(1);
    masks.fill(0, 0, (height / 2) * width);
    masks.fill(0, height * width + (height / 2) * width);
    const occlusion = defineMethod({
      name: 'test-occlusion',
      options: z.strictObject({}),
      usesLayer: false,
      isClassSpecific: true,
      reasonAgainst: () => null,
      map: ({ model: symbolicModel }) => {
        const table = constant(symbolicModel.image, masks, { sample: 2, height, width });
        const scores = concatenate(
          symbolicModel.image,
          2,
          (sample) => symbolicModel.run(mul(symbolicModel.image, take(table, sample))).score,
        );
        // The drop of each half as a 2 x 1 map.
        return symbolic.split(sub(symbolicModel.output.score, scores), 'sample', { height: 2, width: 1 });
      },
    });
    const first = { data: image.data.slice(0, 3 * height * width), shape: [1, 3, height, width] };
    const drops = async (seed = 0) =>
      (await model.explain(nudged(first, seed), { method: occlusion, ...raw }))[0]!.maps[0]!;
    const found = await drops();
    const masked = (half: number): { data: Float32Array; shape: number[] } => ({
      data: Float32Array.from(
        { length: 3 * height * width },
        (_, i) => image.data[i]! * masks[half * height * width + (i % (height * width))]!,
      ),
      shape: [1, 3, height, width],
    });
    const logit = async (input: { data: Float32Array; shape: readonly number[] }): Promise<number> =>
      (await model.capture(input, { features: ['fc'] })).features['fc']!.data[3]!;
    const whole = await logit(first);
    const expected = [whole - (await logit(masked(0))), whole - (await logit(masked(1)))];
    expect(found.shape).toEqual([2, 1]);
    await expectRounded(found.data, expected, 'the drops', { model, again: async (seed) => (await drops(seed)).data });
  });

  it('iterate climbs: each step of gradient ascent raises the score', async () => {
    const ascend = (rounds: number) =>
      defineMethod({
        name: 'test-ascent',
        options: z.strictObject({}),
        usesLayer: false,
        isClassSpecific: true,
        reasonAgainst: () => null,
        map: ({ model: symbolicModel }) => {
          const climbed = iterate(symbolicModel.image, rounds, (state) => {
            const run = symbolicModel.run(state);
            return state.add(grad(run.score, run.image).mul(0.01));
          });
          // The score that was reached, at every pixel: a map is what a method returns.
          return mean(symbolicModel.image.mul(0).add(symbolicModel.run(climbed).score), 'channels');
        },
      });
    const score = async (rounds: number): Promise<number> =>
      (await model.explain(image, { method: ascend(rounds), ...raw }))[0]!.maps[0]!.data[0]!;
    const [one, five, ten] = [await score(1), await score(5), await score(10)];
    expect(five).toBeGreaterThan(one);
    expect(ten).toBeGreaterThan(five);
  });

  it('names the method and the source line of a step that fails', async () => {
    const broken = defineMethod({
      name: 'test-broken',
      options: z.strictObject({}),
      usesLayer: false,
      isClassSpecific: false,
      reasonAgainst: () => null,
      map: ({ model: symbolicModel }) => mean(select(square(symbolicModel.image), 'height', 9999), 'channels'),
    });
    // The axes of the map are wrong as well, which is found first: recording needs no run.
    await expect(model.explain(image, { method: broken, ...raw })).rejects.toThrow(
      /must return a map \[batch, height, width\], not \[batch, width\]/,
    );
    const failing = defineMethod({
      ...broken,
      map: ({ model: symbolicModel }) => relu(sum(symbolic.narrow(symbolicModel.image, 'height', 9999, 1), 'channels')),
    });
    const error = await model.explain(image, { method: failing, ...raw }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SightlineError);
    expect((error as SightlineError).code).toBe('STEP_FAILED');
    expect((error as SightlineError).message).toMatch(
      /^test-broken failed in 'narrow' \(.*custom-method\.test\.ts:\d+.*\): /,
    );
  });

  it('refuses a gradient with respect to a computed value', async () => {
    const method = defineMethod({
      ...plainGradient,
      map: ({ model: symbolicModel }) => mean(grad(symbolicModel.output.score, symbolicModel.image.mul(2)), 'channels'),
    });
    await expect(model.explain(image, { method, ...raw })).rejects.toMatchObject({ code: 'INVALID_OPTION' });
  });
});

describe('the method of one’s own in the README', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const code = /const hiResCam = defineMethod\(\{[\s\S]*?\n\}\);\n/.exec(readme)![0];
  // eslint-disable-next-line @typescript-eslint/no-implied-eval, @typescript-eslint/no-unsafe-call -- the README's
  const method = new Function('defineMethod', 'symbolic', 'z', `${ts.transpile(code)}; return hiResCam;`)(
    defineMethod,
    symbolic,
    z,
  ) as Method;
  const image = randomTensor(3, ...SIZE, 21);

  it('is under 15 lines', () => {
    expect(code.trim().split('\n').length).toBeLessThan(15);
  });

  it('gives what ours gives, batched and for each target', async () => {
    await using model = await loadSmall('torchvision-resnet-traced');
    const options = { targets: [1, 4], raw: true, layer: 'layer3' } as const;
    const ours = await model.explain(image, { method: 'hires-cam', ...options });
    const explain = (seed = 0) => model.explain(nudged(image, seed), { method, ...options });
    const own = await explain();
    for (const [i, { maps }] of own.entries()) {
      for (const [t, map] of maps.entries()) {
        await expectRounded(map.data, ours[i]!.maps[t]!.data, `image ${i}, target ${t}`, {
          model,
          again: async (seed) => (await explain(seed))[i]!.maps[t]!.data,
        });
      }
    }
    expect(relativeDifference(own[0]!.maps[0]!.data, own[0]!.maps[1]!.data)).toBeGreaterThan(0.01);
  });

  it('is cancelled like ours', async () => {
    await using model = await loadSmall('torchvision-resnet-traced');
    const many = randomTensor(64, ...SIZE, 22);
    const abort = new AbortController();
    const running = model.explain(many, { method, signal: abort.signal });
    abort.abort();
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
