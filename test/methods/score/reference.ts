import { fileURLToPath } from 'node:url';

import { Model, type Input } from '../../../lib/index.js';
import { loadSmall } from '../../support/models.js';
import { numbersOf, readSafetensors, type Reference } from '../../support/safetensors.js';

/** Pictures of models/eval that test/parity/methods/score.py explains by the shipped models. */
const PICTURES: Readonly<Record<string, readonly string[]>> = {
  'resnet-tiny-shapes': ['002.png'],
  'vit-tiny-shapes': ['002.png', '005.png'],
};

export const SHIPPED = ['resnet-tiny-shapes', 'vit-tiny-shapes'] as const;
export const SMALL = [
  'torchvision-resnet-traced',
  'torchvision-resnet-basic-scripted',
  'timm-vit-fused-traced',
  'timm-deit-distilled-traced',
  'timm-dinov2-registers-traced',
  'timm-vit-average-traced',
  'timm-swin-traced',
] as const;

/** Layers that are not the model's automatic one. */
const LAYERS: Readonly<Record<string, string>> = {
  'torchvision-resnet-basic-scripted': 'layer3',
  'timm-vit-average-traced': 'blocks.1.norm1',
};

export interface Subject {
  readonly model: Model;
  /** The same model, run operator for operator as it was exported. */
  readonly asExported: Model;
  readonly images: Input[];
  /** Options that every explanation of the reference was made with: targets and layer. */
  readonly common: { readonly targets: number[][]; readonly layer?: string };
  readonly reference: ReadonlyMap<string, Reference>;
}

export async function subject(name: string): Promise<Subject> {
  const reference = readSafetensors(new URL(`../../parity/methods/score-${name}.safetensors`, import.meta.url));
  const targets = numbersOf(reference.get('targets')!).map((target) => [target]);
  const layer = LAYERS[name];
  const common = { targets, ...(layer !== undefined && { layer }) };
  const pictures = PICTURES[name];
  if (pictures) {
    const images = pictures.map((file) => fileURLToPath(new URL(`../../../models/eval/${file}`, import.meta.url)));
    return {
      model: await Model.load(name, { device: 'cpu' }),
      asExported: await Model.load(name, { device: 'cpu', optimize: false }),
      images,
      common,
      reference,
    };
  }
  const input = readSafetensors(new URL(`../../parity/references/${name}.safetensors`, import.meta.url)).get('input')!;
  const [, ...shape] = input.shape as [number, number, number, number];
  const size = shape.reduce((product, length) => product * length, 1);
  const images = targets.map((_, i) => ({
    data: (input.data as Float32Array).slice(i * size, (i + 1) * size),
    shape: [1, ...shape],
  }));
  return {
    model: await loadSmall(name),
    asExported: await loadSmall(name, { optimize: false }),
    images,
    common,
    reference,
  };
}

/** One image's part of a tensor of the reference. */
export function part({ reference }: Subject, key: string, image: number): Float32Array {
  const { data, shape } = reference.get(key)!;
  const size = data.length / shape[0]!;
  return (data as Float32Array).slice(image * size, (image + 1) * size);
}

export function largestDifference(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Infinity;
  // Not by Math.max alone, which would pass NaN by.
  return Array.from(found).reduce(
    (largest, value, i) => (Number.isNaN(value) ? NaN : Math.max(largest, Math.abs(value - expected[i]!))),
    0,
  );
}

export const isFlat = (map: Float32Array): boolean => Math.max(...map) === Math.min(...map);
