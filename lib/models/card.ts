import { readFile } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';

import { z } from 'zod';

import { SightlineError } from '../support/errors.js';
import { SCORE_KINDS, type ScoreKind } from '../engine/inspection.js';
import { denseSchema } from './dense-card.js';
import { describeIssue, fieldPath, firstIssue } from './card-issues.js';
import { readImagenetLabels } from './labels.js';

const pixels = z.int().min(1).max(16384);
const perChannel = z.array(z.number()).min(1).max(4096);

/** Resizing to `exact` distorts; `shorter-side` keeps the proportions, as torchvision's `Resize(int)` does. */
const resizeSchema = z.strictObject({
  mode: z.enum(['shorter-side', 'exact']),
  /** Pixels: the length of the shorter side, or for `exact` [width, height] (one number stands for a square). */
  size: z.union([pixels, z.tuple([pixels, pixels])]),
});

const inputSchema = z
  .strictObject({
    width: pixels,
    height: pixels,
    /** Of R, G, B (or gray, or each of the channels) in [0, range]: the model sees (value - mean) / std. */
    mean: perChannel,
    std: z.array(z.number().positive()).min(1).max(4096),
    /** The value of white before mean and deviation: 1, or 255. Default 1. */
    range: z.union([z.literal(1), z.literal(255)]).optional(),
    /** The order of a color picture's channels. Default `rgb`. */
    order: z.enum(['rgb', 'bgr']).optional(),
    /** How many: 3 are colors, 1 is gray, others come as tensors. Default 3, or what the graph says. */
    channels: z.int().min(1).max(4096).optional(),
    /** `channels-last`: the model takes [N, H, W, channels], and tensors come so. Default: what the graph says. */
    layout: z.enum(['channels-first', 'channels-last']).optional(),
    resize: resizeSchema,
    interpolation: z.enum(['bilinear', 'bicubic']),
    crop: z.enum(['center', 'none']),
  })
  .superRefine((input, context) => {
    const refuse = (path: string[], message: string): void => context.addIssue({ code: 'custom', path, message });
    const channels = input.channels ?? input.mean.length;
    for (const field of ['mean', 'std'] as const) {
      if (input[field].length !== channels) {
        return refuse(
          [field],
          channels === 1
            ? 'one number is expected, for gray'
            : `${channels} numbers are expected, one for each channel`,
        );
      }
    }
    if (input.channels === undefined && channels !== 3 && channels !== 1) {
      return refuse(['mean'], '3 numbers are expected, or 1 for gray; for other images say `channels`');
    }
    if (input.order === 'bgr' && channels !== 3) return refuse(['order'], 'only images of 3 channels have one');
    const { mode, size } = input.resize;
    if (mode === 'shorter-side' && typeof size !== 'number') {
      return refuse(['resize', 'size'], 'one number, the length of the shorter side, is expected');
    }
    const [width, height] = typeof size === 'number' ? [size, size] : size;
    if (input.crop === 'none' && (mode !== 'exact' || width !== input.width || height !== input.height)) {
      return refuse(['crop'], `without a crop, resize must be "exact" to [${input.width}, ${input.height}]`);
    }
    // torchvision would pad with black; a card that asks for it is a slip in nearly every case.
    if (input.crop === 'center' && (width < input.width || height < input.height)) {
      return refuse(['resize', 'size'], `at least the ${input.width} x ${input.height} of the crop is expected`);
    }
  });

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits in lower case are expected');

/** One segment of a path, or several: nothing that leaves its folder. */
const relativeName = z
  .string()
  .regex(
    /^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*$/,
    'names of letters, digits, ".", "_" and "-", divided by "/", are expected',
  );

/** How a checkpoint names its tensors: as a library does, or as sightline's own definition of the network. */
export const NAMINGS = ['timm', 'torchvision', 'huggingface', 'sightline'] as const;
export type Naming = (typeof NAMINGS)[number];

const weightsSchema = z.strictObject({
  /** Of the Hugging Face hub: `organization/name`. */
  repository: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*\/[A-Za-z0-9][A-Za-z0-9._-]*$/, 'organization/name is expected'),
  file: relativeName,
  /** A branch, tag, `refs/pr/N` or commit. */
  revision: relativeName,
  sha256: sha256.optional(),
  /** Of its tensors' values, so the file is a header longer; what the hub announces is what counts. */
  bytes: z.int().positive().optional(),
  naming: z.enum(NAMINGS),
  /** Of the model's layer norms, where it is not the skeleton's own. */
  layerNormEps: z.number().positive().max(1).optional(),
});

const cardSchema = z.strictObject({
  name: z.string().min(1),
  description: z.string().optional(),
  /** File name of the archive, where it is not the card's own name with `.pt`. */
  archive: z.string().optional(),
  sha256: sha256.optional(),
  input: inputSchema,
  /** One label per class, in class order; or the name of a list that ships with the package. */
  labels: z.union([z.array(z.string()).min(1), z.literal('imagenet-1k')]).optional(),
  source: z.string().optional(),
  license: z.string().optional(),
  /** The output that is explained, by name, of a model that returns several. */
  output: z.string().min(1).optional(),
  /**
   * The meaning of its numbers, where the graph does not tell: one class of several, labels, a yes-or-no logit, a
   * value.
   */
  scores: z.enum(SCORE_KINDS).optional(),
  /** What an output of masks or boxes is, where its shape does not tell. */
  dense: denseSchema.optional(),
  /** The node that CNN methods explain where none is asked for. */
  targetLayer: z.string().optional(),
  /** The skeleton that the weights are set into, for a model that comes as a checkpoint and not as an archive. */
  architecture: z
    .string()
    .regex(/^[a-z0-9_]+$/, 'the name of an architecture is expected')
    .optional(),
  /** Where the checkpoint lies. */
  weights: weightsSchema.optional(),
  /** Numbers that were learned. */
  parameters: z.int().positive().optional(),
  /** Of one image, as `inspect` counts: a multiplication and its addition are two. */
  flops: z.int().positive().optional(),
  /** How it was trained: data, accuracy, seeds; for people, not read by sightline. */
  training: z.record(z.string(), z.unknown()).optional(),
});

/**
 * The preprocessing that a model expects: resize, crop to [height, width], then (value / 255 - mean) / std per channel.
 */
export type ModelInput = z.infer<typeof inputSchema>;

/** Mean and deviation per channel in the order in which the model gets them, of values in [0, 1]. */
export function normalizationOf({
  mean,
  std,
  range = 1,
  order = 'rgb',
}: Pick<ModelInput, 'mean' | 'std' | 'range' | 'order'>): {
  readonly mean: readonly number[];
  readonly std: readonly number[];
} {
  const inOrder = (values: readonly number[]): readonly number[] => {
    const scaled = range === 1 ? values : values.map((value) => value / range);
    return order === 'bgr' ? [...scaled].reverse() : scaled;
  };
  return { mean: inOrder(mean), std: inOrder(std) };
}

/** A checkpoint on the hub. */
export type ModelWeights = z.infer<typeof weightsSchema>;

/** The facts about a model that its archive does not hold. */
export type ModelCard = z.infer<typeof cardSchema>;

/**
 * Checks a card's JSON. Unknown fields are refused, since a misspelled `mean` that is passed over gives wrong pixels.
 *
 * @param json text, or the parsed value
 * @param path what messages call the card
 * @throws SightlineError INVALID_CARD in one sentence that names the file and the field.
 */
export function parseCard(json: unknown, path: string): ModelCard {
  let value = json;
  if (typeof json === 'string') {
    try {
      value = JSON.parse(json);
    } catch (cause) {
      throw new SightlineError('INVALID_CARD', `The model card ${path} is not JSON: ${(cause as Error).message}.`, {
        cause,
      });
    }
  }
  const parsed = cardSchema.safeParse(value, { error: describeIssue });
  if (parsed.success) return parsed.data;
  const { field, message } = firstIssue(parsed.error.issues);
  throw new SightlineError('INVALID_CARD', `The model card ${path} is wrong at ${field}: ${message}.`, {
    cause: parsed.error,
    details: {
      path,
      field,
      issues: parsed.error.issues.map((issue) => ({ field: fieldPath(issue.path), message: issue.message })),
    },
  });
}

/**
 * The card beside an archive: `NAME.json` for `NAME.pt`. Null where there is none.
 *
 * @throws SightlineError INVALID_CARD when it is there and wrong.
 */
export async function readCardFor(archivePath: string): Promise<{ card: ModelCard; from: string } | null> {
  const from = cardPathFor(archivePath);
  // An archive without an extension of its own must not be taken for its card.
  if (from === archivePath) return null;
  let text: string;
  try {
    text = await readFile(from, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new SightlineError('INVALID_CARD', `The model card ${from} cannot be read: ${(cause as Error).message}.`, {
      cause,
    });
  }
  return { card: parseCard(text, from), from };
}

/** `dir/NAME.json` for `dir/NAME.pt`. */
export function cardPathFor(archivePath: string): string {
  return join(dirname(archivePath), `${basename(archivePath, extname(archivePath))}.json`);
}

/** Of ImageNet's training pictures, in [0, 1], as every torchvision model uses them. */
const IMAGENET_MEAN = [0.485, 0.456, 0.406] as const;
const IMAGENET_STD = [0.229, 0.224, 0.225] as const;

/**
 * What is assumed of an archive without a card: ImageNet's mean and deviation, the shorter side to 8/7 of the input
 * (256 for 224, the usual proportion), bilinear, center crop. Gray gets the mean of the three colors, other channels
 * are taken as they are. Labels are left open; `resolveLabels` chooses by the classes.
 */
export function defaultCard(archivePath: string, width = 224, height = 224, channels = 3): ModelCard {
  const ofChannels = (ofColors: readonly number[], ofOthers: number): number[] => {
    if (channels === 3) return [...ofColors];
    return Array.from({ length: channels }, () =>
      channels === 1 ? ofColors.reduce((sum, value) => sum + value, 0) / 3 : ofOthers,
    );
  };
  return {
    name: basename(archivePath, extname(archivePath)),
    input: {
      width,
      height,
      ...(channels !== 3 && { channels }),
      mean: ofChannels(IMAGENET_MEAN, 0),
      std: ofChannels(IMAGENET_STD, 1),
      resize: { mode: 'shorter-side', size: Math.round((Math.max(width, height) * 8) / 7) },
      interpolation: 'bilinear',
      crop: 'center',
    },
  };
}

/**
 * The label of each class. A card without labels gets ImageNet's where there are 1000 classes, else `class 0`,
 * `class 1`, ...; a yes-or-no logit is `no` and `yes`, or the card's one label and its opposite.
 *
 * @throws SightlineError INVALID_CARD when the card has another number of labels than the model has classes.
 */
export async function resolveLabels(
  card: ModelCard,
  classes: number,
  scores: ScoreKind | null = 'classes',
): Promise<readonly string[]> {
  if (scores === 'yes-or-no' && (card.labels === undefined || card.labels.length === 1)) {
    return card.labels === undefined ? ['no', 'yes'] : [`not ${card.labels[0]!}`, card.labels[0]!];
  }
  if (card.labels === undefined) {
    if (scores === 'value') {
      return classes === 1 ? ['value'] : Array.from({ length: classes }, (_, index) => `value ${index}`);
    }
    return classes === 1000 ? readImagenetLabels() : Array.from({ length: classes }, (_, index) => `class ${index}`);
  }
  const labels = card.labels === 'imagenet-1k' ? await readImagenetLabels() : card.labels;
  if (labels.length !== classes) {
    throw new SightlineError(
      'INVALID_CARD',
      `The card of ${card.name} has ${labels.length} labels, but the model has ${classes} classes.`,
    );
  }
  return labels;
}
