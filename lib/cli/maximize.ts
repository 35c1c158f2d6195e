import { extname } from 'node:path';

import { Command, InvalidArgumentError, Option } from 'commander';

import { SightlineError } from '../support/errors.js';
import {
  parseMaximizeOptions,
  type BlurOptions,
  type GridPlace,
  type MaximizeOptions,
  type MaximizeProgress,
} from '../requests/maximize/maximize.js';
import { Model } from '../model/model.js';
import { decimal, loadOptions, wholeNumber, withModelFlags, type ModelFlags } from './options.js';
import { preparePicture } from './output-files.js';
import type { Session } from './session.js';
import { short } from './words.js';

type Of = 'feature' | 'attention' | 'query' | 'key' | 'value';

interface MaximizeFlags extends ModelFlags {
  readonly model: string;
  readonly node?: string;
  readonly of?: Of;
  readonly channel?: number;
  readonly unit?: GridPlace;
  readonly head?: number;
  readonly token?: number;
  readonly class?: string;
  readonly against?: string;
  readonly out: string;
  readonly steps?: number;
  readonly every?: number;
  readonly learningRate?: number;
  readonly parametrization?: 'fourier' | 'pixel';
  readonly decay?: number;
  readonly decorrelate?: boolean;
  readonly l2?: number;
  readonly totalVariation?: number;
  readonly jitter?: number;
  readonly blur?: BlurOptions;
  readonly seed?: number;
}

export function maximizeCommand(session: Session): Command {
  return withModelFlags(new Command('maximize'))
    .description(
      'Make the image that excites a part of a model most: a class, a channel, a unit, a token, an attention head.',
    )
    .requiredOption('--model <model>', 'a bundled model or the path of an archive or an exported program')
    .option(
      '--node <name>',
      'node, by the names of `sightline inspect`; for heads, q, k and v the attention or its block',
    )
    .addOption(
      new Option(
        '--of <what>',
        'feature, attention, or q (query), k (key), v (value) (default: attention with --head, else feature)',
      ).argParser(longName),
    )
    .option('--channel <number>', 'channel of the node, or of the heads of q, k and v, from 0', wholeNumber(0))
    .addOption(
      new Option(
        '--unit <row,column>',
        'one place of the grid, from 0,0 at the upper left; of attention the patch that is looked at',
      ).argParser(place),
    )
    .option('--head <number>', 'attention head, from 0', wholeNumber(0))
    .option(
      '--token <number>',
      'token, from 0, which is mostly the class token; of attention the token that looks',
      wholeNumber(0),
    )
    .option('--class <label>', 'in place of a node: a class by index or label')
    .option('--against <label>', 'with --class: the class whose score is subtracted')
    .requiredOption('--out <file>', 'the picture to write: .png, .jpg, .webp, .avif, .tiff or .gif')
    .option('--steps <count>', 'steps of Adam (default: 256)', wholeNumber(1))
    .option(
      '--every <count>',
      'also write a picture each so many steps, as NAME-step-0000.png and so on',
      wholeNumber(1),
    )
    .option('--learning-rate <rate>', "Adam's step size (default: 0.05)", decimal)
    .addOption(
      new Option(
        '--parametrization <kind>',
        'what Adam moves: the spectrum of the image, or its pixels (default: fourier)',
      ).choices(['fourier', 'pixel']),
    )
    .option('--decay <power>', 'of fourier: the spectrum is scaled by 1 / frequency^power (default: 1)', decimal)
    .option('--decorrelate', "move along the axes of ImageNet's colors (default for fourier)")
    .option('--no-decorrelate', 'move along red, green and blue (default for pixel)')
    .option('--l2 <weight>', 'penalty on the mean square of the preprocessed image (default: 0)', decimal)
    .option('--total-variation <weight>', 'penalty on the mean difference of neighboring pixels (default: 0)', decimal)
    .option(
      '--jitter <pixels>',
      'shift the image by up to so many pixels at each step (default: 4, less for small images)',
      wholeNumber(0),
    )
    .addOption(
      new Option(
        '--blur <size,sigma,every>',
        'smooth the image with a Gaussian kernel of odd size after each so many steps (default: none)',
      ).argParser(blur),
    )
    .option('--seed <number>', 'of the start and the jitter (default: 0)', wholeNumber(0))
    .addHelpText(
      'after',
      `
Examples:
  $ sightline maximize --model resnet50.pt --node layer3 --channel 41 --out channel.png
  $ sightline maximize --model vit.pt --node blocks.8.attn --head 3 --out head.png --every 32
  $ sightline maximize --model vit.pt --class tabby --steps 512 --out tabby.png --json`,
    )
    .action((flags: MaximizeFlags) => maximize(session, flags));
}

async function maximize(session: Session, flags: MaximizeFlags): Promise<void> {
  const pictures: { step: number; activation: number; picture: string }[] = [];
  const options = optionsOf(flags, session.signal, async ({ step, steps, activation, image }) => {
    session.progress(`step ${step} of ${steps}, activation ${short(activation)}`);
    if (image === undefined) return;
    const picture = stepFile(flags.out, step);
    await image.toFile(picture);
    pictures.push({ step, activation, picture });
  });
  parseMaximizeOptions(options);
  await preparePicture(flags.out);

  await using model = await Model.load(flags.model, loadOptions(flags, session.signal));
  model.notes.forEach(session.note);
  const made = await model.maximize(options);
  await made.image.toFile(flags.out);
  const { objective, activation, activations, image } = made;
  session.answer({
    model: flags.model,
    objective,
    activation,
    activations,
    options: made.options,
    shape: image.shape,
    picture: flags.out,
    pictures,
  });

  session.print(
    `${objective}: activation ${short(activations[0]!.activation)} at the start, ${short(activation)} after ${made.options.steps} steps`,
  );
  for (const { picture } of pictures) session.print(`  ${picture}`);
  session.print(`  ${flags.out}`);
}

function optionsOf(
  flags: MaximizeFlags,
  signal: AbortSignal,
  onProgress: (progress: MaximizeProgress) => Promise<void>,
): MaximizeOptions {
  const {
    node,
    of,
    channel,
    unit,
    head,
    token,
    against,
    steps,
    every,
    learningRate,
    parametrization,
    decay,
    decorrelate,
    l2,
    totalVariation,
    jitter,
    blur,
    seed,
  } = flags;
  const target = flags.class === undefined || against === undefined ? flags.class : { of: flags.class, against };
  if (flags.class === undefined && against !== undefined) {
    throw new SightlineError('INVALID_OPTION', '--against needs the --class that it is compared with.');
  }
  // Whether these go together is `parseMaximizeOptions`'s to say, in one sentence; the types only say that they may
  // not.
  const objective = { node, of, channel, unit, head, token, class: target } as MaximizeOptions;
  return {
    ...objective,
    steps,
    every,
    learningRate,
    parametrization,
    decay,
    decorrelate,
    l2,
    totalVariation,
    jitter,
    blur,
    seed,
    onProgress,
    signal,
  };
}

/** `dir/name-step-0032.png` for `dir/name.png`. */
function stepFile(path: string, step: number): string {
  const extension = extname(path);
  return `${path.slice(0, path.length - extension.length)}-step-${String(step).padStart(4, '0')}${extension}`;
}

function place(value: string): GridPlace {
  const found = /^(\d+)\s*,\s*(\d+)$/.exec(value);
  if (!found) throw new InvalidArgumentError('Give a row and a column, such as 3,5.');
  return { row: Number(found[1]), column: Number(found[2]) };
}

function blur(value: string): BlurOptions {
  const parts = value.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  const [size, sigma, every] = parts;
  if (parts.length < 2 || parts.length > 3 || parts.some(Number.isNaN)) {
    throw new InvalidArgumentError('Give a size, a deviation and a number of steps, such as 5,1,4.');
  }
  return { size: size!, sigma: sigma!, every };
}

const LONG_NAMES: Readonly<Record<string, Of>> = {
  q: 'query',
  k: 'key',
  v: 'value',
  query: 'query',
  key: 'key',
  value: 'value',
  attention: 'attention',
  feature: 'feature',
};

function longName(value: string): Of {
  if (Object.hasOwn(LONG_NAMES, value)) return LONG_NAMES[value]!;
  throw new InvalidArgumentError('Give feature, attention, or q, k, v (or query, key, value).');
}
