import { readSafetensors, type Reference } from '../../support/safetensors.js';
import type { Subject } from '../attention/references.js';

/** The models of test/parity/methods/relevance.py. */
export const SUBJECTS = [
  'torchvision-vit-traced',
  'timm-vit-fused-traced',
  'timm-deit-distilled-traced',
  'timm-dinov2-registers-traced',
  'timm-vit-average-traced',
  'vit-tiny-shapes',
] as const satisfies readonly Subject[];

export const referenceOf = (subject: Subject): Map<string, Reference> =>
  readSafetensors(new URL(`../../parity/methods/relevance-${subject}.safetensors`, import.meta.url));

/** Every step-th value of a map along both axes. */
export function everyOther(map: { data: ArrayLike<number>; shape: readonly number[] }, step: number): Float32Array {
  const [height, width] = map.shape as [number, number];
  const kept: number[] = [];
  for (let y = 0; y < height; y += step) for (let x = 0; x < width; x += step) kept.push(map.data[y * width + x]!);
  return Float32Array.from(kept);
}

/** Sums over the cells of a grid. */
export function cellSums(
  map: { data: ArrayLike<number>; shape: readonly number[] },
  [rows, columns]: readonly [number, number],
): Float32Array {
  const [height, width] = map.shape as [number, number];
  const sums = new Float32Array(rows * columns);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      sums[Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width)]! += map.data[y * width + x]!;
    }
  }
  return sums;
}
