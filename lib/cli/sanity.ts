import { Command, Option } from 'commander';

import { METHOD_NAMES } from '../methods/index.js';
import { Model } from '../model/model.js';
import { DEFAULT_MODEL } from '../models/bundled.js';
import { SANITY_CHECKS, type SanityCheck, type SanityCheckName } from '../requests/sanity/sanity.js';
import type { SanityOptions } from '../requests/sanity/sanity.js';
import { SIMILARITIES, type Similarity } from '../requests/sanity/similarity.js';
import { readInputs } from './input-files.js';
import { loadOptions, repeated, wholeNumber, withModelFlags, type ModelFlags } from './options.js';
import type { Session } from './session.js';
import { withOptions } from './with-options.js';
import { aligned, short } from './words.js';

interface SanityFlags extends ModelFlags {
  readonly model: string;
  readonly method: readonly string[];
  readonly check: SanityCheckName;
  readonly similarity: Similarity;
  readonly layers?: string;
  readonly target?: string;
  readonly seed: number;
}

export function sanityCommand(session: Session): Command {
  return withModelFlags(new Command('sanity'))
    .description('Check that maps follow the model: compare them with those of shuffled weights, or of another class.')
    .argument('<image...>', 'pictures, or .npy files of preprocessed images')
    .option('--model <model>', 'a bundled or pulled model, or the path of an archive', DEFAULT_MODEL)
    .requiredOption(
      '--method <method>',
      `${METHOD_NAMES.join(', ')}; with options as in "integrated-gradients steps=20"; may be repeated`,
      repeated,
    )
    .addOption(
      new Option(
        '--check <check>',
        'cascading: weights are shuffled from the scores down, one layer more at each step. independent: those of one layer. random-logit: another class is explained',
      )
        .choices(SANITY_CHECKS)
        .default('cascading'),
    )
    .addOption(new Option('--similarity <name>', 'how alike two maps are').choices(SIMILARITIES).default('spearman'))
    .option(
      '--layers <layers>',
      'modules whose weights are shuffled, one at each step, with commas between (default: every block, and every layer outside of blocks)',
    )
    .option('--target <target>', 'the class that is explained: an index, a label, or rankK (default: top1)')
    .option('--seed <seed>', 'by which weights are shuffled and classes drawn', wholeNumber(0), 0)
    .addHelpText(
      'after',
      `
Examples:
  $ sightline sanity *.jpg --method grad-cam --method guided-backprop
  $ sightline sanity *.jpg --model vit.pt --method gae --check random-logit`,
    )
    .action((images: string[], flags: SanityFlags) => sanity(session, images, flags));
}

async function sanity(session: Session, images: readonly string[], flags: SanityFlags): Promise<void> {
  const { check, similarity, layers, target, seed } = flags;
  const inputs = [];
  for await (const { input } of readInputs(images)) inputs.push(input);
  await using model = await Model.load(flags.model, loadOptions(flags, session.signal));
  model.notes.forEach(session.note);
  const checks: (SanityCheck & { readonly label: string })[] = [];
  for (const text of flags.method) {
    const { label = text, ...method } = withOptions(text, 'method') as { label?: string };
    const checked = await model.sanityCheck(inputs, {
      check,
      similarity,
      seed,
      method: method as unknown as SanityOptions['method'],
      ...(layers !== undefined && { layers: layers.split(',') }),
      ...(target !== undefined && { targets: [target] }),
      signal: session.signal,
      onProgress: ({ done, total }) => session.progress(`${label}: step ${done} of ${total}`),
    });
    checks.push({ ...checked, label });
  }
  print(session, checks, flags);
  session.answer({
    model: flags.model,
    images: inputs.length,
    check,
    similarity,
    methods: checks.map(({ label, steps }) => ({ method: label, steps })),
  });
}

function print(
  session: Session,
  checks: readonly (SanityCheck & { readonly label: string })[],
  { check, similarity }: SanityFlags,
): void {
  const [first] = checks;
  session.print(`${check}, by ${similarity}: 1 where the maps stay as they were`);
  const rows = first!.steps.map(({ layer }, at) => [
    layer === '' ? 'another class' : layer,
    ...checks.map(({ steps }) => {
      const { mean, low, high } = steps[at]!;
      const interval = Number.isNaN(low) ? '' : ` [${short(low)}, ${short(high)}]`;
      return Number.isNaN(mean) ? 'no figure' : `${short(mean)}${interval}`;
    }),
  ]);
  const head = [check === 'random-logit' ? '' : 'shuffled', ...checks.map(({ label }) => label)];
  for (const line of aligned([head, ...rows])) session.print(line);
}
