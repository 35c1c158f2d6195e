import { Command } from 'commander';

import { METHOD_NAMES } from '../methods/index.js';
import { METRIC_NAMES } from '../metrics/index.js';
import { Model } from '../model/model.js';
import { DEFAULT_MODEL } from '../models/bundled.js';
import type { ObjectPlace } from '../requests/evaluate/mask.js';
import type { JudgingMetric } from '../requests/evaluate/evaluate.js';
import type { SearchGain, SearchOptions, SearchResult } from '../requests/search/search.js';
import type { Interval } from '../requests/evaluate/statistics.js';
import { checkLabelFlags, labelledPictures, withLabelFlags, type LabelFlags } from './labels/label-flags.js';
import { decimal, loadOptions, repeated, wholeNumber, withModelFlags, type ModelFlags } from './options.js';
import { savePreset } from './preset-file.js';
import type { Session } from './session.js';
import { withOptions } from './with-options.js';
import { aligned, short } from './words.js';

interface SearchFlags extends ModelFlags, LabelFlags {
  readonly model: string;
  readonly method?: readonly string[];
  readonly metric: string;
  readonly heldOut: number;
  readonly seed: number;
  readonly save?: string;
}

/** Candidates that are printed; `--json` gives all. */
const SHOWN = 10;

export function searchCommand(session: Session): Command {
  const command = withModelFlags(new Command('search'))
    .description('Find the options of methods that a metric likes best, and how they do on pictures held out.')
    .argument('[image...]', 'pictures; none with --labels')
    .option('--model <model>', 'a bundled or pulled model, or the path of an archive', DEFAULT_MODEL)
    .option(
      '--method <method>',
      `${METHOD_NAMES.join(', ')}; each combination of lists of values is tried, as in "gradient-rollout residualWeight=[0,0.5] startBlock=[0,4]"; may be repeated (default: what suits the model)`,
      repeated,
    )
    .requiredOption('--metric <metric>', `${METRIC_NAMES.join(', ')}; with options as in "deletion steps=20"`);
  return withLabelFlags(command, 'an index, a label, or rankK')
    .option('--held-out <share>', 'of the pictures, those that the winner is tried on and not chosen by', decimal, 0.5)
    .option('--seed <seed>', 'by which pictures are held out', wholeNumber(0), 0)
    .option('--save <file>', 'write the winner to this file, for explain --preset')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline search --labels instances.json --model vit.pt --metric mass-accuracy --save rollout.json
  $ sightline search *.jpg --method "grad-cam layer=[\\"layer3\\",\\"layer4\\"]" --method layer-cam --metric "deletion steps=20"`,
    )
    .action((images: string[], flags: SearchFlags) => search(session, images, flags));
}

async function search(session: Session, images: readonly string[], flags: SearchFlags): Promise<void> {
  checkLabelFlags(images, flags);
  const candidates = flags.method?.map(spaceOf) as SearchOptions['candidates'];
  const metric = withOptions(flags.metric, 'metric') as unknown as JudgingMetric;
  const { pictures, notes, hasObjects } = await labelledPictures(images, flags);
  notes.forEach(session.note);
  const objects: ObjectPlace[] = [];
  for (const { object } of pictures) if (object !== null) objects.push(await object.read());
  await using model = await Model.load(flags.model, loadOptions(flags, session.signal));
  model.notes.forEach(session.note);
  const result = await model.search(
    pictures.map(({ image }) => image),
    {
      ...(candidates && { candidates }),
      metric,
      heldOut: flags.heldOut,
      seed: flags.seed,
      targets: pictures.map(({ target }) => [target ?? flags.target ?? 'top1']),
      ...(hasObjects && { objects }),
      signal: session.signal,
      onProgress: ({ done, total }) => session.progress(`${done} of ${total} pictures`),
    },
  );
  if (flags.save !== undefined) await savePreset(flags.save, result.best.options);
  print(session, result, flags);
  session.answer({ model: flags.model, images: pictures.length, ...result });
}

/** `grad-cam layer=["layer3","layer4"]`: what is a list is tried value by value. */
function spaceOf(text: string): object {
  const { label: _, ...options } = withOptions(text, 'method');
  const over = Object.entries(options).filter(([, value]) => Array.isArray(value));
  if (over.length === 0) return options;
  const fixed = Object.entries(options).filter(([, value]) => !Array.isArray(value));
  return { ...Object.fromEntries(fixed), over: Object.fromEntries(over) };
}

function print(
  session: Session,
  { metric, better, candidates, chosenOn, heldOut }: SearchResult,
  flags: SearchFlags,
): void {
  session.print(`${metric} (${better} is better), ${candidates.length} candidates`);
  const rows = candidates
    .slice(0, SHOWN)
    .map(({ label, mean, count, without }) => [
      label,
      Number.isNaN(mean) ? 'no figure' : short(mean),
      `${count} maps${without > 0 ? `, ${without} without` : ''}`,
    ]);
  for (const line of aligned(rows)) session.print(line);
  const interval = ({ mean, low, high }: Interval): string =>
    Number.isNaN(low) ? short(mean) : `${short(mean)} [${short(low)}, ${short(high)}]`;
  const gainOf = (name: string, { gain, best, paper, pValue, images }: SearchGain): string[] => [
    name,
    `${images} pictures`,
    `best ${short(best.mean)}`,
    `paper ${short(paper.mean)}`,
    `gain ${interval(gain)}`,
    `p = ${short(pValue)}`,
  ];
  const gains = [gainOf('chosen on', chosenOn), ...(heldOut === null ? [] : [gainOf('held out', heldOut)])];
  for (const line of aligned(gains)) session.print(line);
  session.print('The gain on pictures that chose is too good: take that of those held out.');
  if (flags.save !== undefined) session.print(`The winner: ${flags.save}, for explain --preset.`);
}
