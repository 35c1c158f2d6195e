import { fileURLToPath } from 'node:url';

import { Model, type Input, type MethodName, type NamedOptions } from '../../../lib/index.js';
import { archivePath, plainCard } from '../../support/models.js';
import type { Pixels } from '../../support/rounding.js';
import { numbersOf, readSafetensors, type Reference } from '../../support/safetensors.js';

/** A model of the family's references: test/parity/methods/attention.py. */
export const SUBJECTS = [
  'vit-tiny-shapes',
  'torchvision-vit-traced',
  'timm-vit-fused-traced',
  'timm-vit-fused-frozen',
  'timm-deit-distilled-traced',
  'timm-dinov2-registers-traced',
  'timm-vit-average-traced',
] as const;
export type Subject = (typeof SUBJECTS)[number];

export const referenceOf = (subject: Subject): Map<string, Reference> =>
  readSafetensors(new URL(`../../parity/methods/attention-${subject}.safetensors`, import.meta.url));

export function loadSubject(subject: Subject, reference: Map<string, Reference>): Promise<Model> {
  const input = reference.get('input');
  if (input === undefined) return Model.load(subject, { device: 'cpu' });
  return Model.load(archivePath(subject), { device: 'cpu', card: plainCard(input.shape[2]!, input.shape[3]!) });
}

/** The images that a reference was computed on: its own input, or the first pictures of models/eval. */
export function imagesOf(reference: Map<string, Reference>): Input[] {
  const input = reference.get('input');
  if (input !== undefined) {
    return [{ data: input.data as Float32Array, shape: input.shape }];
  }
  return numbersOf(reference.get('targets')!).map((_, i) =>
    fileURLToPath(new URL(`../../../models/eval/00${i}.png`, import.meta.url)),
  );
}

/** The i-th image of a tensor of several; a tensor of one as it is. */
export function pictureOf(pixels: Pixels, i: number): Pixels {
  const [count, ...shape] = pixels.shape as [number, ...number[]];
  if (count === 1) return pixels;
  const size = pixels.data.length / count;
  return { data: pixels.data.slice(i * size, (i + 1) * size), shape: [1, ...shape] };
}

/** Each image's own target. */
export const targetsOf = (reference: Map<string, Reference>): number[][] =>
  numbersOf(reference.get('targets')!).map((target) => [target]);

export type Case = readonly [key: string, options: NamedOptions<MethodName>];

/** To [0, 1] by the map's own range; a flat one to zeros. */
export function unit(map: ArrayLike<number>): Float32Array {
  const values = Array.from(map);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return Float32Array.from(values, (value) => (value - low) / (high > low ? high - low : 1));
}

/** The largest difference between maps. */
export function difference(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Infinity;
  return Array.from(found).reduce<number>((largest, value, i) => Math.max(largest, Math.abs(value - expected[i]!)), 0);
}

/** Map `i` of a reference [B, h, w]. */
export function mapAt(reference: Reference, i: number): { data: Float32Array; shape: readonly number[] } {
  const [, height, width] = reference.shape as [number, number, number];
  return {
    data: (reference.data as Float32Array).slice(i * height * width, (i + 1) * height * width),
    shape: [height, width],
  };
}
