import { z } from 'zod';

import { SightlineError } from '../../support/errors.js';
import { parseOptions } from '../../support/options.js';
import { clientOption } from '../question.js';
import type { Target } from '../targets.js';
import type { GeneratedImage } from './image.js';

/** A place in a node's grid, from 0; row 0 is at the top. */
export interface GridPlace {
  /** From 0 at the top. */
  readonly row: number;
  /** From 0 at the left. */
  readonly column: number;
}

/** A class's score before softmax (Simonyan et al. 2014). */
export interface ClassObjective {
  /** Class index or label; `{ of, against }` for the difference of two. */
  readonly class: Target;
  readonly node?: undefined;
  readonly of?: undefined;
  readonly channel?: undefined;
  readonly unit?: undefined;
  readonly token?: undefined;
  readonly head?: undefined;
}

/**
 * A module's output. With `channel`, its mean over the places; without, the mean square of all channels, since the mean
 * of normalized states says nothing. `unit` or `token` leaves one place; without them all places count, of tokens the
 * patches.
 */
export interface FeatureObjective {
  /** The node, by its name in `inspect`. */
  readonly node: string;
  /** The kind of objective. Default `feature`. */
  readonly of?: 'feature' | undefined;
  /** The channel: 0 or more. Default: all. */
  readonly channel?: number | undefined;
  /** One place of the grid. Default: all. */
  readonly unit?: GridPlace | undefined;
  /** One token, by its number: 0 or more; 0 is mostly the class token. Default: all. */
  readonly token?: number | undefined;
  readonly head?: undefined;
  readonly class?: undefined;
}

/** Attention after softmax: from one token to the patches, their mean. */
export interface AttentionObjective {
  /** The attention's module, or a block that holds just one. */
  readonly node: string;
  /** The kind of objective. Default `attention` where `head` is given. */
  readonly of?: 'attention' | undefined;
  /** The head: 0 or more. Default: the mean of all heads. */
  readonly head?: number | undefined;
  /** The patch that is looked at. Default: all patches. */
  readonly unit?: GridPlace | undefined;
  /** The token that looks: 0 or more. Default: the class token, or the mean of the patches where there is none. */
  readonly token?: number | undefined;
  readonly channel?: undefined;
  readonly class?: undefined;
}

/**
 * Queries, keys or values, before any scaling. With `channel` (of a head's channels), its mean over the patches and
 * heads that are left; without, the mean square of all channels.
 */
export interface ProjectionObjective {
  /** The attention's module, or a block that holds just one. */
  readonly node: string;
  /** Which projection is maximized. */
  readonly of: 'query' | 'key' | 'value';
  /** The head: 0 or more. Default: the mean of all heads. */
  readonly head?: number | undefined;
  /** The channel of the head: 0 or more. Default: all. */
  readonly channel?: number | undefined;
  /** One patch. Default: all. */
  readonly unit?: GridPlace | undefined;
  /** One token, by its number: 0 or more. Default: all. */
  readonly token?: number | undefined;
  readonly class?: undefined;
}

/** The objective. */
export type MaximizeObjective = ClassObjective | FeatureObjective | AttentionObjective | ProjectionObjective;

/** How far an image has come. */
export interface MaximizeProgress {
  /** Steps that were made; 0 for the start. */
  readonly step: number;
  /** Of how many. */
  readonly steps: number;
  /** The activation of the image as it is: without jitter and penalties. */
  readonly activation: number;
  /** With `every`: at step 0, at each multiple of it, and at the end. */
  readonly image?: GeneratedImage;
}

/** Erhan et al. 2009: Gaussian smoothing of the image every few steps (as in Yosinski et al. 2015). */
export interface BlurOptions {
  /** Pixels along each side of the kernel: odd, from 3 on. */
  readonly size: number;
  /** Standard deviation in pixels, above 0. */
  readonly sigma: number;
  /** Smooths after each so many steps: 1 or more. Default 4. */
  readonly every?: number | undefined;
}

/** How `maximize` searches. */
export interface MaximizeSettings {
  /** Steps of Adam: 1 to 1,000,000. Default 256. */
  readonly steps?: number | undefined;
  /** Adam's learning rate: above 0, in units of the parametrization. Default 0.05. */
  readonly learningRate?: number | undefined;
  /** Adam's decay rates of the two moments: [0, 1) each. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number] | undefined;
  /** Adam's epsilon, added to the root of the second moment: above 0. Default 1e-8. */
  readonly epsilon?: number | undefined;
  /**
   * The values that Adam changes: `fourier` (default), the spectrum scaled by 1 / frequency^decay, or `pixel`, each
   * pixel by itself.
   */
  readonly parametrization?: 'fourier' | 'pixel' | undefined;
  /**
   * Exponent of the frequency, of `fourier`: 0 to 4. 0 weighs all frequencies alike, larger numbers favor low ones.
   * Default 1, as natural images.
   */
  readonly decay?: number | undefined;
  /** Moves along the axes of ImageNet's color covariance rather than R, G and B. Default true for `fourier`. */
  readonly decorrelate?: boolean | undefined;
  /** Weight of the mean square of the preprocessed image, which is subtracted: 0 or more. Default 0. */
  readonly l2?: number | undefined;
  /**
   * Weight of the total variation, which is subtracted: 0 or more. The total variation is the mean absolute difference
   * of neighboring pixels in [0, 1]. Default 0.
   */
  readonly totalVariation?: number | undefined;
  /**
   * The image is shifted round by up to so many pixels, drawn at each step: 0 or more. Default 4, but at most 1/16 of
   * the shorter side.
   */
  readonly jitter?: number | undefined;
  /** Gaussian smoothing of the image on the way. Default: none. */
  readonly blur?: BlurOptions | undefined;
  /**
   * Seed of the start and the jitter: 0 to 4,294,967,295. The same seed gives the same image, bit for bit on the CPU.
   * Default 0.
   */
  readonly seed?: number | undefined;
  /** Hands `onProgress` a picture each so many steps: 1 or more. Default: none. */
  readonly every?: number | undefined;
  /** Called at the start, then every 8 steps or more often, and at the end. A promise is awaited. Default: none. */
  readonly onProgress?: ((progress: MaximizeProgress) => void | Promise<void>) | undefined;
  /**
   * Whose request it is, such as a user's name: at most 256 characters. Requests of different clients take turns, so
   * that many of one do not hold up another's. Default: one client for all that name none.
   */
  readonly client?: string | undefined;
  /** Aborting rejects with ABORTED at once. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of `maximize`: what is maximized, and how. */
export type MaximizeOptions = MaximizeObjective & MaximizeSettings;

const index = z.int({ error: 'a whole number from 0 on is expected' }).min(0, 'a whole number from 0 on is expected');
const count = (of: string): z.ZodInt =>
  z.int({ error: `a whole number of ${of} is expected` }).min(1, `at least 1 of the ${of} is expected`);
const weight = z.number({ error: 'a number is expected' }).min(0, 'a weight of at least 0 is expected');
const beta = z
  .number()
  .min(0, 'a decay rate from 0 to below 1 is expected')
  .lt(1, 'a decay rate from 0 to below 1 is expected');
const className = z.union([z.number(), z.string()]);

/** The engine's random generator is seeded with seed * 1000003 + sample, which has to stay exact in a double. */
const MAX_SEED = 2 ** 32 - 1;

/** What can be said in JSON. */
export const maximizeFields = z.strictObject({
  node: z.string().min(1, "a node's name is expected").optional(),
  of: z
    .enum(['feature', 'attention', 'query', 'key', 'value'], {
      error: 'feature, attention, query, key or value is expected',
    })
    .optional(),
  class: z
    .union([className, z.strictObject({ of: className, against: className })], {
      error: 'a class index or a label is expected',
    })
    .optional(),
  channel: index.optional(),
  unit: z.strictObject({ row: index, column: index }, { error: '{ row, column } is expected' }).optional(),
  head: index.optional(),
  token: index.optional(),
  steps: count('steps').max(1_000_000, 'at most 1000000 steps are expected').default(256),
  learningRate: z.number().positive('a number above 0 is expected').default(0.05),
  betas: z.tuple([beta, beta]).default([0.9, 0.999]),
  epsilon: z.number().positive('a number above 0 is expected').default(1e-8),
  parametrization: z.enum(['fourier', 'pixel'], { error: 'fourier or pixel is expected' }).default('fourier'),
  decay: weight.max(4, 'a number from 0 to 4 is expected').optional(),
  decorrelate: z.boolean().optional(),
  l2: weight.default(0),
  totalVariation: weight.default(0),
  jitter: index.optional(),
  blur: z
    .strictObject({
      size: z
        .int('an odd number of pixels from 3 on is expected')
        .min(3, 'an odd number of pixels from 3 on is expected')
        .refine((size) => size % 2 === 1, 'an odd number of pixels is expected, so that the kernel has a middle'),
      sigma: z.number().positive('a number of pixels above 0 is expected'),
      every: count('steps').default(4),
    })
    .optional(),
  seed: index.max(MAX_SEED, `a whole number up to ${MAX_SEED} is expected`).default(0),
  every: count('steps').optional(),
});

const schema = maximizeFields.extend({
  onProgress: z
    .custom<NonNullable<MaximizeSettings['onProgress']>>(
      (value) => typeof value === 'function',
      'a function is expected',
    )
    .optional(),
  client: clientOption,
  signal: z.instanceof(AbortSignal, { error: 'an AbortSignal is expected' }).optional(),
});

/** Options as they take effect, as far as they are known without the model. */
export type MaximizeRequest = z.output<typeof schema> & { readonly decorrelate: boolean; readonly decay: number };

/**
 * Checks what can be checked without the model.
 *
 * @throws SightlineError INVALID_OPTION in one sentence.
 */
export function parseMaximizeOptions(options: MaximizeOptions): MaximizeRequest {
  const request = parseOptions(schema, options, 'maximize');
  const refuse = (sentence: string): never => {
    throw new SightlineError('INVALID_OPTION', sentence);
  };
  const { node, of, head, channel, token, unit, parametrization } = request;
  if (request.class !== undefined) {
    const other = (['node', 'of', 'channel', 'unit', 'head', 'token'] as const).find(
      (name) => request[name] !== undefined,
    );
    if (other !== undefined) refuse(`"class" and "${other}" were both given; maximize takes either a class or a node.`);
  } else if (node === undefined) {
    refuse('There is nothing to maximize: name a node (with a channel, unit, head or token), or a class.');
  }
  const attends = of === 'attention' || (of === undefined && head !== undefined);
  if (attends && channel !== undefined) {
    refuse('Attention probabilities have no channels; leave "channel" out, or set "of" to query, key or value.');
  }
  if (of === 'feature' && head !== undefined) {
    refuse('A feature has no heads; leave "head" out, or set "of" to attention, query, key or value.');
  }
  if (!attends && unit !== undefined && token !== undefined) {
    refuse('"unit" and "token" both name a place; give one of them.');
  }
  if (parametrization === 'pixel' && request.decay !== undefined) {
    refuse(
      '"decay" weighs frequencies, which the pixel parametrization has none of; leave it out, or set "parametrization" to fourier.',
    );
  }
  return {
    ...request,
    ...(request.class === undefined && { of: attends ? 'attention' : (of ?? 'feature') }),
    decorrelate: request.decorrelate ?? parametrization === 'fourier',
    decay: request.decay ?? 1,
  };
}
