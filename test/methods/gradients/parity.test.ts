import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type HeatMap, type Input, type Target } from '../../../lib/index.js';
import { archivePath, pixelsOf, plainCard } from '../../support/models.js';
import { expectRounded, nudged } from '../../support/rounding.js';
import { readSafetensors } from '../../support/safetensors.js';
import { explainWith, type GradientMethod } from './support.js';

type Options = Readonly<Record<string, unknown>>;
const COLOUR = [0.5, -0.25, 1];

/** What each case of test/parity/methods/gradients.py is called there, and what it is here. */
const CASES: Readonly<Record<string, readonly [GradientMethod, Options?]>> = {
  gradient: ['gradient'],
  'gradient.sum': ['gradient', { channels: 'sum' }],
  'gradient.pair': ['gradient', { channels: 'sum-abs' }],
  'gradient.xplique': ['gradient'],
  'input-x-gradient': ['input-x-gradient'],
  'input-x-gradient.xplique': ['input-x-gradient', { channels: 'mean' }],
  'smooth-grad': ['smooth-grad'],
  'smooth-grad.captum': ['smooth-grad', { compat: 'captum' }],
  'smooth-grad.pair': ['smooth-grad', { compat: 'pair' }],
  'smooth-grad.xplique': ['smooth-grad', { compat: 'xplique' }],
  'smooth-grad.square': ['smooth-grad', { compat: 'xplique', average: 'square', samples: 12, noise: 0.5 }],
  'var-grad': ['var-grad'],
  'var-grad.captum': ['var-grad', { compat: 'captum' }],
  'var-grad.xplique': ['var-grad', { compat: 'xplique' }],
  'var-grad.biased': ['var-grad', { samples: 9, noise: 0.25, noiseUnit: 'absolute', unbiased: false }],
  'integrated-gradients': ['integrated-gradients'],
  'integrated-gradients.trapezoid.captum': ['integrated-gradients', { compat: 'captum', quadrature: 'trapezoid', steps: 12 }],
  'integrated-gradients.left': ['integrated-gradients', { quadrature: 'left', steps: 12 }],
  'integrated-gradients.right': ['integrated-gradients', { quadrature: 'right', steps: 12 }],
  'integrated-gradients.middle': ['integrated-gradients', { quadrature: 'middle', steps: 12 }],
  'integrated-gradients.xplique': ['integrated-gradients', { compat: 'xplique' }],
  'integrated-gradients.pair': ['integrated-gradients', { compat: 'pair' }],
  'integrated-gradients.colour': ['integrated-gradients', { baseline: COLOUR }],
  'integrated-gradients.blur': ['integrated-gradients', { baseline: { blur: 4 } }],
  'integrated-gradients.local': ['integrated-gradients', { steps: 20, multiplyByInputs: false }],
  'guided-backprop': ['guided-backprop'],
  'guided-backprop.sum': ['guided-backprop', { channels: 'sum' }],
  'guided-backprop.pytorch-grad-cam': ['guided-backprop'],
  deconvnet: ['deconvnet'],
  'deconvnet.sum': ['deconvnet', { channels: 'sum' }],
  'guided-grad-cam': ['guided-grad-cam'],
  'guided-grad-cam.captum': ['guided-grad-cam', { compat: 'captum' }],
  'guided-grad-cam.layer3': ['guided-grad-cam', { channels: 'sum' }],
  'guided-grad-cam.pytorch-grad-cam': ['guided-grad-cam', { compat: 'pytorch-grad-cam' }],
  occlusion: ['occlusion'],
  'occlusion.coarse': ['occlusion', { window: 32, stride: 16 }],
  'occlusion.colour': ['occlusion', { window: [60, 44], stride: [31, 44], baseline: 0.75 }],
  'occlusion.captum': ['occlusion', { compat: 'captum', window: [7, 5] }],
  'occlusion.clipped': ['occlusion', { window: [7, 9], stride: [5, 4] }],
  'occlusion.xplique': ['occlusion', { compat: 'xplique' }],
  'occlusion.pair': ['occlusion', { compat: 'pair' }],
  rise: ['rise', { masks: 200 }],
  'rise.expected': ['rise', { masks: 100, grid: [4, 6], probability: 0.3, denominator: 'expected' }],
  'rise.xplique': ['rise', { compat: 'xplique', masks: 100 }],
};
/** The same names mean fewer masks on the small archives. */
const SMALL: typeof CASES = { ...CASES, rise: ['rise', { masks: 60, grid: [3, 4] }] };

const SHIPPED = ['resnet-tiny-shapes', 'vit-tiny-shapes'];
const ARCHIVES = [
  'timm-resnet-traced',
  'torchvision-resnet-basic-scripted',
  'torchvision-resnet-frozen',
  'timm-swin-traced',
  'timm-deit-distilled-traced',
  'timm-dinov2-registers-traced',
  'timm-vit-average-traced',
  'transformers-vit-sdpa-traced',
];
const PICTURES = ['000.png', '002.png'].map((file) => fileURLToPath(new URL(`../../../models/eval/${file}`, import.meta.url)));

/** One picture of 224 pixels is enough where it takes the model dozens of runs. */
const SAMPLED: readonly GradientMethod[] = ['smooth-grad', 'var-grad', 'integrated-gradients', 'occlusion', 'rise'];

/** What docs/parity.md promises, of a map's range. */
const PROMISED = 1e-4;

interface Subject {
  readonly model: Model;
  readonly images: readonly Input[];
}

async function shipped(name: string): Promise<Subject> {
  // Operator for operator as the peers ran it: at a ReLU's kink the order of summation decides which way a pixel's gradient
  // goes, and a folded batch norm sums in another. test/speed compares the tuned graph with this one.
  return { model: await Model.load(name, { device: 'cpu', optimize: false }), images: PICTURES };
}

async function small(name: string): Promise<Subject> {
  const input = readSafetensors(new URL(`../../parity/references/${name}.safetensors`, import.meta.url)).get('input')!;
  const [, channels, height, width] = input.shape as [number, number, number, number];
  const size = channels * height * width;
  const image = (i: number): Input => ({ data: (input.data as Float32Array).slice(i * size, (i + 1) * size), shape: [1, channels, height, width] });
  return { model: await Model.load(archivePath(name), { device: 'cpu', card: plainCard(height, width) }), images: [image(0), image(1)] };
}

describe.each([...SHIPPED, ...ARCHIVES])('%s', (name) => {
  const file = new URL(`../../parity/methods/gradients-${name}.safetensors`, import.meta.url);
  const reference = readSafetensors(file);
  const isShipped = SHIPPED.includes(name);
  const cases = [...reference.keys()].filter((key) => key !== 'targets' && !/\.(range|error)$/.test(key));
  const values = (key: string): Float32Array => reference.get(key)!.data as Float32Array;
  let subject: Subject;

  beforeAll(async () => {
    subject = await (isShipped ? shipped(name) : small(name));
  });
  afterAll(() => subject?.model.close());

  const targets = (): Target[][] => Array.from(reference.get('targets')!.data as BigInt64Array, (target) => [Number(target)]);

  it('is asked about every case that the peers answered', () => {
    expect(cases.length).toBeGreaterThanOrEqual(8);
    expect(cases.filter((key) => !(key in CASES))).toEqual([]);
  });

  it.each(cases)('%s equals the peer', async (key) => {
    const [method, options] = (isShipped ? CASES : SMALL)[key]!;
    const layer = key === 'guided-grad-cam.layer3' ? { layer: 'layer3' } : {};
    const count = isShipped && SAMPLED.includes(method) ? 1 : subject.images.length;
    const explained = await explainWith(subject.model, subject.images.slice(0, count), method, options, { targets: targets().slice(0, count), ...layer });
    const [first, step] = (isShipped ? [7, 16] : [1, 3]) as [number, number];
    const expected = values(key);
    const range = values(`${key}.range`);
    const errors = key === 'integrated-gradients' ? values('integrated-gradients.error') : null;
    let at = 0;
    for (const [i, { maps }] of explained.entries()) {
      const map = maps[0]!;
      if (errors) expect(map.figures['completenessError'], 'captum’s convergence delta').toBeCloseTo(errors[i]!, 3);
      const [low, high] = [range[2 * i]!, range[2 * i + 1]!];
      const sampled = ({ data, shape, min, max }: HeatMap): number[] => {
        // As raw values: the scale is right as well, not only the min-max map.
        const values = [(min - low) / (high - low), 1 + (max - high) / (high - low)];
        for (let row = first; row < shape[0]; row += step) for (let column = first; column < shape[1]; column += step) values.push((data[row * shape[1] + column]! - min) / (max - min));
        return values;
      };
      const ours = sampled(map);
      const theirs = [0, 1, ...Array.from(expected.subarray(at, (at += ours.length - 2)), (value) => (value - low) / (high - low))];
      const again = async (seed: number): Promise<number[]> => {
        const pixels = nudged(await pixelsOf(subject.model, subject.images[i]!), seed);
        return sampled((await explainWith(subject.model, pixels, method, options, { targets: targets()[i] as Target[], ...layer }))[0]!.maps[0]!);
      };
      await expectRounded(ours, theirs, `${name} ${key}, image ${i}`, { model: subject.model, again, promised: PROMISED, jumps: method !== 'occlusion' && method !== 'rise' });
    }
    expect(at).toBe((expected.length * count) / subject.images.length);
  });
});
