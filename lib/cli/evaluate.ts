import { writeFile } from 'node:fs/promises';

import { Command, Option } from 'commander';

import type { Input } from '../images/inputs.js';
import { METHOD_NAMES } from '../methods/index.js';
import { METRIC_NAMES } from '../metrics/index.js';
import { Model } from '../model/model.js';
import { DEFAULT_MODEL } from '../models/bundled.js';
import type { JudgedMethod, JudgingMetric, Judgement } from '../requests/evaluate/evaluate.js';
import { Evaluation, type Summary } from '../requests/evaluate/evaluation.js';
import type { ObjectPlace } from '../requests/evaluate/mask.js';
import { parseEvaluateOptions } from '../requests/evaluate/options.js';
import { SightlineError } from '../support/errors.js';
import { firstLine } from '../support/files.js';
import { eachOrFailed, isAboutImage, type ImageFailure } from './bad-images.js';
import { failureOf } from './failure.js';
import { readInputs } from './input-files.js';
import type { LabelledPicture, ObjectForm } from './labels/labelled-picture.js';
import { readLabels } from './labels/read-labels.js';
import { keyValue, loadOptions, repeated, withModelFlags, type ModelFlags } from './options.js';
import type { Session } from './session.js';
import { aligned, short } from './words.js';

interface EvaluateFlags extends ModelFlags {
  readonly model: string;
  readonly method: readonly string[];
  readonly metric: readonly string[];
  readonly target?: string;
  readonly labels?: string;
  readonly objects?: ObjectForm;
  readonly out?: string;
}

const DEFAULT_METRICS = ['deletion', 'insertion'];
/** Images that are judged at a time, so that memory stays bounded and progress shows. */
const PORTION = 16;

export function evaluateCommand(session: Session): Command {
  return withModelFlags(new Command('evaluate'))
    .description('Measure how right methods are: each one by each metric, with intervals over the pictures.')
    .argument('[image...]', 'pictures, or .npy files of preprocessed images; none with --labels')
    .option('--model <model>', 'a bundled or pulled model, or the path of an archive', DEFAULT_MODEL)
    .requiredOption(
      '--method <method>',
      `${METHOD_NAMES.join(', ')}; with options as in "integrated-gradients steps=20"; may be repeated`,
      repeated,
    )
    .option(
      '--metric <metric>',
      `${METRIC_NAMES.join(', ')}; with options as in "deletion steps=50"; may be repeated (default: ${DEFAULT_METRICS.join(' and ')})`,
      repeated,
      undefined,
    )
    .option(
      '--target <target>',
      'the class that is explained: an index, a label, rankK, or topK for the K best (default: top1)',
    )
    .option(
      '--labels <path>',
      'pictures with their classes and objects: a folder with one of pictures for each class; Pascal VOC, a folder or one .xml; annotations of COCO; a .csv table with the columns image, target, mask, value, left, top, width, height; or JSON, or a line of JSON each: {"image": "a.jpg", "target": "collie", "boxes": [[left, top, width, height]]}, or "mask": "a.png"',
    )
    .addOption(
      new Option(
        '--objects <form>',
        'what is read of COCO and Pascal VOC (default: masks where all objects have one, else boxes)',
      ).choices(['boxes', 'masks']),
    )
    .option('--out <file>', 'write every figure to this file: .json, with curves, or .csv')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline evaluate *.jpg --method grad-cam --method score-cam --metric deletion --metric insertion
  $ sightline evaluate --labels objects.jsonl --model vit.pt --method gae --method attention-rollout --metric pointing-game --out figures.csv`,
    )
    .action((images: string[], flags: EvaluateFlags) => evaluate(session, images, flags));
}

async function evaluate(session: Session, images: readonly string[], flags: EvaluateFlags): Promise<void> {
  checkFlags(images, flags);
  const methods = flags.method.map((text) => withOptions(text, 'method')) as unknown as JudgedMethod[];
  const metrics = (flags.metric ?? DEFAULT_METRICS).map((text) =>
    withOptions(text, 'metric'),
  ) as unknown as JudgingMetric[];
  const { pictures, notes } =
    flags.labels === undefined
      ? { pictures: images.map((image): LabelledPicture => ({ image, target: null, object: null })), notes: [] }
      : await readLabels(flags.labels, flags.objects);
  notes.forEach(session.note);
  const hasObjects = pictures.some(({ object }) => object !== null);
  const without = pictures.find(({ object }) => object === null);
  if (hasObjects && without !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      `${without.image} has no mask and no boxes in ${flags.labels}, and others have; give them to all or to none.`,
    );
  }
  // What was asked for is checked before anything is loaded.
  const asked = parseEvaluateOptions({ methods, metrics, ...(hasObjects && { objects: [] }) });

  await using model = await Model.load(flags.model, loadOptions(flags, session.signal));
  model.notes.forEach(session.note);
  const judgements: Judgement[] = [];
  const failures: ImageFailure[] = [];
  const failed = (image: string, error: unknown): undefined => {
    // Of one picture there is no rest to be done.
    if (pictures.length === 1 || !isAboutImage(error)) throw error;
    failures.push({ image, error: { code: error.code, message: failureOf(error).message } });
  };
  let done = 0;
  for await (const portion of portions(pictures, failed)) {
    const ask = async (some: readonly Asked[]): Promise<Judgement[]> => {
      const evaluated = await model.evaluate(
        some.map(({ input }) => input),
        {
          methods,
          metrics,
          targets: some.map(({ picture }) => [picture.target ?? flags.target ?? 'top1']),
          ...(hasObjects && { objects: some.map(({ object }) => object!) }),
          signal: session.signal,
          onProgress: (progress) =>
            session.progress(
              `${done + Math.floor(progress.done / methods.length)} of ${pictures.length} pictures, ${methods.length} methods`,
            ),
        },
      );
      // Methods first, then pictures, then targets. Names are the paths as given: files of two folders may share one.
      const targets = evaluated.judgements.length / methods.length / some.length;
      return evaluated.judgements.map((each, at) => ({
        ...each,
        image: some[Math.floor(at / targets) % some.length]!.image,
      }));
    };
    judgements.push(...(await eachOrFailed(portion, ask, failed)));
    done += portion.length;
  }
  const evaluation = new Evaluation(judgements, asked);
  const summary = evaluation.summary();
  if (flags.out !== undefined) await write(flags.out, evaluation, flags.model);
  print(session, summary, evaluation, flags);
  session.answer({
    model: flags.model,
    images: done - failures.length,
    summary,
    judgements: judgements.map(asJson),
    ...(failures.length > 0 && { failures }),
  });
  if (failures.length === 0) return;
  session.fail(
    `${failures.length} of ${pictures.length} pictures could not be judged: ${failures.map(({ error }) => error.message).join(' ')}`,
  );
  process.exitCode = 2;
}

function checkFlags(images: readonly string[], { labels, objects, out, target }: EvaluateFlags): void {
  if ((labels === undefined) === (images.length === 0)) {
    throw new SightlineError(
      'INVALID_OPTION',
      labels === undefined
        ? 'Name pictures, or a file of them by --labels.'
        : '--labels names the pictures; leave the others out.',
    );
  }
  if (labels !== undefined && target !== undefined) {
    throw new SightlineError('INVALID_OPTION', 'The --labels file names the classes; leave --target out.');
  }
  if (labels === undefined && objects !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      '--objects says what is read of a --labels file; give one, or leave it out.',
    );
  }
  if (out !== undefined && !/\.(json|csv)$/i.test(out)) {
    throw new SightlineError('INVALID_OPTION', `--out ${out} names no format; end it in .json or .csv.`);
  }
}

/** `deletion steps=50` as { metric: 'deletion', steps: 50, label: 'deletion steps=50' }. */
function withOptions(text: string, kind: 'method' | 'metric'): Record<string, unknown> {
  const [name, ...options] = text.trim().split(/\s+/);
  let own: Record<string, unknown> = {};
  for (const option of options) {
    if (!option.includes('=')) {
      throw new SightlineError('INVALID_OPTION', `--${kind} "${text}": options are key=value, and "${option}" is not.`);
    }
    own = keyValue(option, own);
  }
  return { ...own, [kind]: name, ...(options.length > 0 && { label: text.trim() }) };
}

/** A picture, what the model takes of it, and where its object lies. */
interface Asked {
  readonly picture: LabelledPicture;
  readonly image: string;
  readonly input: Input;
  readonly object: ObjectPlace | null;
}

/** Some at a time. What cannot be read is given to `failed`. */
async function* portions(
  pictures: readonly LabelledPicture[],
  failed: (image: string, error: unknown) => undefined,
): AsyncGenerator<Asked[]> {
  for (let start = 0; start < pictures.length; start += PORTION) {
    const portion: Asked[] = [];
    for (const picture of pictures.slice(start, start + PORTION)) {
      let object: ObjectPlace | null;
      try {
        object = picture.object === null ? null : await picture.object.read();
      } catch (error) {
        failed(picture.image, error);
        continue;
      }
      for await (const { image, input } of readInputs([picture.image], failed)) {
        portion.push({ picture, image, input, object });
      }
    }
    if (portion.length > 0) yield portion;
  }
}

function asJson({ image, method, target, state, figures, curves }: Judgement): object {
  return {
    image,
    method,
    target,
    state,
    figures,
    curves: Object.fromEntries(
      Object.entries(curves).map(([metric, { shares, scores }]) => [
        metric,
        { shares: Array.from(shares), scores: Array.from(scores) },
      ]),
    ),
  };
}

async function write(file: string, { judgements, metrics }: Evaluation, model: string): Promise<void> {
  const labels = metrics.map(({ label }) => label);
  const cell = (value: string | number): string =>
    typeof value === 'number'
      ? Number.isNaN(value)
        ? ''
        : String(value)
      : /[",\r\n]/.test(value)
        ? `"${value.replaceAll('"', '""')}"`
        : value;
  const text = /\.csv$/i.test(file)
    ? [
        ['image', 'method', 'target', 'label', 'state', ...labels],
        ...judgements.map(({ image, method, target, state, figures }) => [
          image,
          method,
          target.index,
          target.label,
          state,
          ...labels.map((label) => figures[label]!),
        ]),
      ]
        .map((row) => row.map(cell).join(','))
        .join('\r\n') + '\r\n'
    : `${JSON.stringify({ model, judgements: judgements.map(asJson) })}\n`;
  try {
    await writeFile(file, text);
  } catch (cause) {
    throw new SightlineError('INVALID_OPTION', `--out ${file} cannot be written: ${firstLine(cause)}.`, { cause });
  }
}

function print(session: Session, summary: readonly Summary[], { metrics }: Evaluation, flags: EvaluateFlags): void {
  for (const { label, better } of metrics) {
    session.print(`${label} (${better} is better)`);
    const rows = summary
      .filter(({ metric }) => metric === label)
      .sort((a, b) => (better === 'higher' ? b.mean - a.mean : a.mean - b.mean))
      .map(({ method, mean, low, high, count, without, isBest, pValue }) => [
        method,
        Number.isNaN(mean) ? 'no figure' : short(mean),
        Number.isNaN(low) ? '' : `[${short(low)}, ${short(high)}]`,
        `${count} maps${without > 0 ? `, ${without} without` : ''}`,
        isBest ? 'best' : Number.isNaN(pValue) ? '' : `p = ${short(pValue)}`,
      ]);
    for (const line of aligned(rows)) session.print(line);
  }
  session.print('Intervals hold 95 %; p is of a paired test against the best.');
  if (flags.out !== undefined) session.print(`Every figure: ${flags.out}`);
}
