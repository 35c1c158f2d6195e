import { readdirSync } from 'node:fs';
import { basename } from 'node:path';

import { Model, type LoadOptions } from '../../lib/index.js';
import { archivePath, plainCard } from '../support/models.js';

/** The size that each family of test/parity was exported at, the first part of a name that fits. */
const SIZES: readonly (readonly [part: string, height: number, width: number])[] = [
  ['conv-net', 32, 48],
  ['mlp', 8, 8],
  ['linear-', 8, 8],
  ['quantised-dynamic', 8, 8],
  ['quantised-static', 32, 48],
  ['resnet-basic', 48, 80],
  ['transformers-resnet', 48, 80],
  ['resnet', 32, 48],
  ['torchvision-vit', 32, 32],
  ['transformers-dinov2-registers', 32, 32],
  ['transformers-dinov2-traced', 32, 40],
];

export interface Archive {
  readonly name: string;
  readonly height: number;
  readonly width: number;
}

export function archive(name: string): Archive {
  const [, height, width] = SIZES.find(([part]) => name.includes(part)) ?? ['', 24, 40];
  return { name, height, width };
}

/** All that the engine runs: a model of two inputs is refused. */
export const ARCHIVES: readonly Archive[] = readdirSync(new URL('../parity/archives/', import.meta.url))
  .map((file) => basename(file, '.pt'))
  .filter((name) => name !== 'two-inputs')
  .sort()
  .map(archive);

export const load = ({ name, height, width }: Archive, options: LoadOptions = {}): Promise<Model> =>
  Model.load(archivePath(name), { device: 'cpu', card: plainCard(height, width), ...options });
