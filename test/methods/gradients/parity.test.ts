import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model, type HeatMap, type Input, type Target } from '../../../lib/index.js';
import { archivePath, pixelsOf, plainCard } from '../../support/models.js';
import { expectRounded, nudged, roundingOf } from '../../support/rounding.js';
import { readSafetensors } from '../../support/safetensors.js';
import { torchRand } from '../../support/torch-random.js';
import { explainWith, type GradientMethod } from './support.js';

type Options = Readonly<Record<string, unknown>>;
const COLOUR = [0.5, -0.25, 1];

/** The baselines that gradients_formulas.py gives: [3, 3, height, width]. */
function givenBaselines(height: number, width: number): { data: Float32Array; shape: number[] } {
  const size = 3 * height * width;
  const data = new Float32Array(3 * size);
  for (const i of [0, 1, 2]) data.set(torchRand(900 + i, size), i * size);
  return { data, shape: [3, 3, height, width] };
}

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
  'integrated-gradients.trapezoid.captum': [
    'integrated-gradients',
    { compat: 'captum', quadrature: 'trapezoid', steps: 12 },
  ],
  'integrated-gradients.left': ['integrated-gradients', { quadrature: 'left', steps: 12 }],
  'integrated-gradients.right': ['integrated-gradients', { quadrature: 'right', steps: 12 }],
  'integrated-gradients.middle': ['integrated-gradients', { quadrature: 'middle', steps: 12 }],
  'integrated-gradients.xplique': ['integrated-gradients', { compat: 'xplique' }],
  'integrated-gradients.pair': ['integrated-gradients', { compat: 'pair' }],
  'integrated-gradients.colour': ['integrated-gradients', { baseline: COLOUR }],
  'integrated-gradients.blur': ['integrated-gradients', { baseline: { blur: 4 } }],
  'integrated-gradients.trapezoid.captum.blur': [
    'integrated-gradients',
    { compat: 'captum', quadrature: 'trapezoid', steps: 12, baseline: { blur: 4 } },
  ],
  'integrated-gradients.left.blur': ['integrated-gradients', { quadrature: 'left', steps: 12, baseline: { blur: 4 } }],
  'integrated-gradients.xplique.blur': ['integrated-gradients', { compat: 'xplique', baseline: { blur: 4 } }],
  'integrated-gradients.pair.blur': ['integrated-gradients', { compat: 'pair', baseline: { blur: 4 } }],
  'integrated-gradients.local': ['integrated-gradients', { steps: 20, multiplyByInputs: false }],
  'expected-gradients': ['expected-gradients'],
  'expected-gradients.given': ['expected-gradients', { samples: 12 }],
  'expected-gradients.noisy': ['expected-gradients', { samples: 9, baselines: ['zero', 0.75, COLOUR], noise: 0.25 }],
  'expected-gradients.local': [
    'expected-gradients',
    { samples: 9, baselines: ['zero', 0.75, COLOUR], multiplyByInputs: false },
  ],
  'blur-ig': ['blur-ig', { steps: 12 }],
  'blur-ig.pair': ['blur-ig', { compat: 'pair', steps: 20, maxSigma: 12 }],
  'blur-ig.idgi': ['blur-ig', { steps: 12, quadrature: 'idgi' }],
  'blur-ig.slight': ['blur-ig', { steps: 6, maxSigma: 2 }],
  'blur-ig.slight.idgi': ['blur-ig', { steps: 6, maxSigma: 2, quadrature: 'idgi' }],
  'integrated-gradients.idgi.blur': ['integrated-gradients', { steps: 12, quadrature: 'idgi', baseline: { blur: 4 } }],
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
const PICTURES = ['000.png', '002.png'].map((file) =>
  fileURLToPath(new URL(`../../../models/eval/${file}`, import.meta.url)),
);

/** One picture of 224 pixels is enough where it takes the model dozens of runs. */
const SAMPLED: readonly GradientMethod[] = [
  'smooth-grad',
  'var-grad',
  'integrated-gradients',
  'expected-gradients',
  'blur-ig',
  'occlusion',
  'rise',
];

/** What docs/parity.md promises, of a map's range. */
const PROMISED = 1e-4;

/** Of the places, at most so many may be left open by float32 to more than is promised. */
const OPEN_SHARE = 0.2;

interface Subject {
  readonly model: Model;
  readonly images: readonly Input[];
}

async function shipped(name: string): Promise<Subject> {
  // Operator for operator as the peers ran it: at a ReLU's kink the order of summation decides which way a pixel's
  // gradient goes, and a folded batch norm sums in another. test/speed compares the tuned graph with this one.
  return { model: await Model.load(name, { device: 'cpu', optimize: false }), images: PICTURES };
}

async function small(name: string): Promise<Subject> {
  const input = readSafetensors(new URL(`../../parity/references/${name}.safetensors`, import.meta.url)).get('input')!;
  const [, channels, height, width] = input.shape as [number, number, number, number];
  const size = channels * height * width;
  const image = (i: number): Input => ({
    data: (input.data as Float32Array).slice(i * size, (i + 1) * size),
    shape: [1, channels, height, width],
  });
  return {
    model: await Model.load(archivePath(name), { device: 'cpu', card: plainCard(height, width) }),
    images: [image(0), image(1)],
  };
}

describe.each([...SHIPPED, ...ARCHIVES])('%s', (name) => {
  const file = new URL(`../../parity/methods/gradients-${name}.safetensors`, import.meta.url);
  const reference = readSafetensors(file);
  // Where rectifiers make gradients jump: the peers in float64, and how far float32 leaves each place open.
  const exactFile = new URL(`../../parity/methods/gradients-${name}.float64.safetensors`, import.meta.url);
  const exact = existsSync(exactFile) ? readSafetensors(exactFile) : null;
  const isShipped = SHIPPED.includes(name);
  const cases = [...reference.keys()].filter((key) => key !== 'targets' && !/\.(range|error)$/.test(key));
  const values = (key: string): Float32Array => reference.get(key)!.data as Float32Array;
  let subject: Subject;

  beforeAll(async () => {
    subject = await (isShipped ? shipped(name) : small(name));
  });
  afterAll(() => subject?.model.close());

  const targets = (): Target[][] =>
    Array.from(reference.get('targets')!.data as BigInt64Array, (target) => [Number(target)]);

  const rowsOf = (key: string, image: number): ArrayLike<number> => {
    const { data, shape } = exact!.get(key)!;
    const size = data.length / shape[0]!;
    return (data as Float32Array).subarray(image * size, (image + 1) * size);
  };

  /** Fails where raw values lie farther from the float64 ones than is promised and float32 leaves open. */
  const expectExact = (key: string, image: number, found: ArrayLike<number>, what: string): void => {
    const [low, high] = Array.from(rowsOf(`${key}.range`, image)) as [number, number];
    const expected = [...Array.from(rowsOf(key, image)), low, high];
    // One of two draws takes a lone undecided value across: the root mean square of both is what it moves, over the
    // root of 2.
    const open = [...Array.from(rowsOf(`${key}.open`, image)), ...Array.from(rowsOf(`${key}.range.open`, image))].map(
      (each) => 2 * each,
    );
    const promised = PROMISED * (high - low);
    expect(found.length, what).toBe(expected.length);
    const wrong = expected.flatMap((value, i) =>
      Math.abs(found[i]! - value) <= promised + open[i]! ? [] : [{ place: i, found: found[i]!, value, open: open[i]! }],
    );
    expect(wrong, `${what}: places that are farther from float64 than ${promised}`).toEqual([]);
    expect(
      open.filter((each) => each > promised).length / open.length,
      `${what}: share of the places that float32 leaves open`,
    ).toBeLessThanOrEqual(OPEN_SHARE);
  };

  it('is asked about every case that the peers answered', async () => {
    expect(cases.length).toBeGreaterThanOrEqual(8);
    // A gradient jumps where an activation crosses zero, or another value of a window is the largest, and few nudges
    // need meet that: test/parity/methods/gradients_float64.py tells where, of every such network and gradient.
    const { nodes } = await subject.model.inspect();
    if (nodes.some(({ operator }) => /^(relu|relu6|hardtanh|max_pool2d)_?$/.test(operator))) {
      expect(cases.filter((key) => !/^(occlusion|rise)/.test(key) && !exact?.has(key))).toEqual([]);
    }
    expect(cases.filter((key) => !(key in CASES))).toEqual([]);
  });

  it.each(cases)('%s equals the peer', async (key) => {
    const [method, asked] = (isShipped ? CASES : SMALL)[key]!;
    const { height, width } = await subject.model.inspect();
    const options = key === 'expected-gradients.given' ? { ...asked, baselines: givenBaselines(height, width) } : asked;
    const layer = key === 'guided-grad-cam.layer3' ? { layer: 'layer3' } : {};
    const count = isShipped && SAMPLED.includes(method) ? 1 : subject.images.length;
    const explained = await explainWith(subject.model, subject.images.slice(0, count), method, options, {
      targets: targets().slice(0, count),
      ...layer,
    });
    const [first, step] = isShipped ? [7, 16] : [1, 3];
    const expected = values(key);
    const range = values(`${key}.range`);
    const errorKey = `${key}.error`;
    const errors = exact?.has(errorKey)
      ? (exact.get(errorKey)!.data as Float32Array)
      : ((reference.get(errorKey)?.data as Float32Array | undefined) ?? null);
    const openErrors = exact?.has(errorKey) ? (exact.get(`${errorKey}.open`)!.data as Float32Array) : [0, 0];
    let at = 0;
    for (const [i, { maps }] of explained.entries()) {
      const map = maps[0]!;
      if (errors) {
        // A sum of all the places, each as exact as the network's operators are: so is captum's, where it is no
        // float64.
        const rounding =
          2 * (await roundingOf(subject.model)) * map.data.reduce((sum, value) => sum + Math.abs(value), 0);
        expect(
          Math.abs(map.figures['completenessError']! - errors[i]!),
          'captum’s convergence delta',
        ).toBeLessThanOrEqual(rounding + 2 * openErrors[i]!);
      }
      const [low, high] = [range[2 * i]!, range[2 * i + 1]!];
      const places = ({ data, shape }: HeatMap): number[] => {
        const all = [];
        for (let row = first; row < shape[0]; row += step) {
          for (let column = first; column < shape[1]; column += step) all.push(data[row * shape[1] + column]!);
        }
        return all;
      };
      if (exact?.has(key)) {
        const ours = places(map);
        expectExact(key, i, [...ours, map.min, map.max], `${name} ${key}, image ${i}`);
        // The references hold for the peer's own float32 too, else they would be no measure.
        expectExact(
          key,
          i,
          [...expected.subarray(at, (at += ours.length)), low, high],
          `the peer's ${name} ${key}, image ${i}`,
        );
        continue;
      }
      const sampled = ({ data, shape, min, max }: HeatMap): number[] => {
        // As raw values: the scale is right as well, not only the min-max map.
        const values = [(min - low) / (high - low), 1 + (max - high) / (high - low)];
        for (let row = first; row < shape[0]; row += step) {
          for (let column = first; column < shape[1]; column += step) {
            values.push((data[row * shape[1] + column]! - min) / (max - min));
          }
        }
        return values;
      };
      const ours = sampled(map);
      const theirs = [
        0,
        1,
        ...Array.from(expected.subarray(at, (at += ours.length - 2)), (value) => (value - low) / (high - low)),
      ];
      const again = async (seed: number): Promise<number[]> => {
        const pixels = nudged(await pixelsOf(subject.model, subject.images[i]!), seed);
        return sampled(
          (
            await explainWith(subject.model, pixels, method, options, { targets: targets()[i] as Target[], ...layer })
          )[0]!.maps[0]!,
        );
      };
      await expectRounded(ours, theirs, `${name} ${key}, image ${i}`, {
        model: subject.model,
        again,
        promised: PROMISED,
      });
    }
    expect(at).toBe((expected.length * count) / subject.images.length);
  });
});
