import { fileURLToPath } from 'node:url';

import type { z } from 'zod';

import { Model, type CommonOptions, type Explanation, type Input } from '../../../lib/index.js';
import { GRADIENT_METHODS } from '../../../lib/methods/gradients/index.js';
import type { Method } from '../../../lib/methods/method.js';
import { plainCard } from '../../support/models.js';

export type GradientMethod = keyof typeof GRADIENT_METHODS;

/** A method with options that are checked when it runs, as tables of cases hold them. */
export function explainWith(
  model: Model,
  images: Input | readonly Input[],
  name: GradientMethod,
  options: Readonly<Record<string, unknown>> = {},
  common: CommonOptions & { layer?: string } = {},
): Promise<Explanation<string, unknown, string | null>[]> {
  const method = GRADIENT_METHODS[name] as unknown as Method<z.ZodType>;
  return model.explain(images, { method, options, raw: true, ...common });
}

export const NET = { classes: 5, channels: 3, height: 4, width: 6, hidden: 4 } as const;

/** A model of test/parity/methods/gradients_nets.py. */
export function loadNet(name: 'linear' | 'quadratic' | 'rectified'): Promise<Model> {
  const path = fileURLToPath(new URL(`../../parity/methods/gradients-${name}.pt`, import.meta.url));
  return Model.load(path, { device: 'cpu', card: plainCard(NET.height, NET.width) });
}

/** The weights that gradients_nets.py gives to a tensor of `count` values. */
export const weights = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => (((i * 7919) % 1009) % 7) - 3);
