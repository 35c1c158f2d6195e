import { Command } from 'commander';

import { packageVersion } from '../bench/machine.js';
import { binding } from '../engine/binding.js';
import { METHOD_NAMES } from '../methods/index.js';
import { METRIC_NAMES } from '../metrics/index.js';
import { Model } from '../model/model.js';
import { DEFAULT_MODEL } from '../models/bundled.js';
import type { JudgedMethod, JudgingMetric } from '../requests/evaluate/evaluate.js';
import { Evaluation, type Summary } from '../requests/evaluate/evaluation.js';
import { parseEvaluateOptions } from '../requests/evaluate/options.js';
import { SightlineError } from '../support/errors.js';
import { isAboutImage, type ImageFailure } from './bad-images.js';
import { bestFirst } from './evaluation/best-first.js';
import { asJson, writeJudgements } from './evaluation/judgement-file.js';
import { judgeAll } from './evaluation/judging.js';
import { Journal, type Question } from './evaluation/journal.js';
import { applicableMethods, recommend, secondsOf, type Recommendation } from './evaluation/recommend.js';
import { modelContents } from './evaluation/picture-key.js';
import { writeReport } from './evaluation/write-report.js';
import { failureOf } from './failure.js';
import { checkLabelFlags, labelledPictures, withLabelFlags, type LabelFlags } from './labels/label-flags.js';
import { loadOptions, repeated, withModelFlags, type ModelFlags } from './options.js';
import { withOptions } from './with-options.js';
import type { Session } from './session.js';
import { preparePage } from './output-files.js';
import { aligned, short } from './words.js';

interface EvaluateFlags extends ModelFlags, LabelFlags {
  readonly model: string;
  readonly method?: readonly string[];
  readonly recommend?: true;
  readonly metric: readonly string[];
  readonly out?: string;
  readonly html?: string;
  readonly resume?: true;
}

const DEFAULT_METRICS = ['deletion', 'insertion'];

export function evaluateCommand(session: Session): Command {
  const command = withModelFlags(new Command('evaluate'))
    .description('Measure how right methods are: each one by each metric, with intervals over the pictures.')
    .argument('[image...]', 'pictures, or .npy files of preprocessed images; none with --labels')
    .option('--model <model>', 'a bundled or pulled model, or the path of an archive', DEFAULT_MODEL)
    .option(
      '--method <method>',
      `${METHOD_NAMES.join(', ')}; with options as in "integrated-gradients steps=20"; may be repeated (default with --recommend: all that apply)`,
      repeated,
    )
    .option(
      '--metric <metric>',
      `${METRIC_NAMES.join(', ')}; with options as in "deletion steps=50"; may be repeated (default: ${DEFAULT_METRICS.join(' and ')})`,
      repeated,
      undefined,
    );
  return withLabelFlags(command, 'an index, a label, rankK, or topK for the K best')
    .option('--out <file>', 'write every figure to this file: .json, with curves, or .csv')
    .option('--html <file>', 'write a report to this file: tables, curves, cost, and the best and worst pictures')
    .option(
      '--recommend',
      'say which method to use: the best of those that no metric tells from its best, and what each costs',
    )
    .option(
      '--resume',
      'go on with an evaluation that was interrupted: figures are kept beside --out or --html as they come',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ sightline evaluate *.jpg --method grad-cam --method score-cam --metric deletion --metric insertion
  $ sightline evaluate --labels objects.jsonl --model vit.pt --method gae --method attention-rollout --metric pointing-game --out figures.csv
  $ sightline evaluate --labels annotations/instances_val2017.json --images val2017 --objects masks --method cam --metric iou --html report.html --resume`,
    )
    .action((images: string[], flags: EvaluateFlags) => evaluate(session, images, flags));
}

async function evaluate(session: Session, images: readonly string[], flags: EvaluateFlags): Promise<void> {
  checkFlags(images, flags);
  const given = flags.method?.map((text) => withOptions(text, 'method')) as unknown as JudgedMethod[] | undefined;
  const metrics = (flags.metric ?? DEFAULT_METRICS).map((text) =>
    withOptions(text, 'metric'),
  ) as unknown as JudgingMetric[];
  const { pictures, notes, hasObjects } = await labelledPictures(images, flags);
  notes.forEach(session.note);
  // What was asked for is checked before anything is loaded.
  const parse = (methods: readonly JudgedMethod[]) =>
    parseEvaluateOptions({ methods, metrics, ...(hasObjects && { objects: [] }) });
  parse(given ?? ['gradient']);
  if (flags.html !== undefined) await preparePage(flags.html);

  await using model = await Model.load(flags.model, loadOptions(flags, session.signal));
  model.notes.forEach(session.note);
  const methods = given ?? (await applicableMethods(model));
  const asked = parse(methods);
  const failures: ImageFailure[] = [];
  const failed = (image: string, error: unknown): undefined => {
    // Of one picture there is no rest to be done.
    if (pictures.length === 1 || !isAboutImage(error)) throw error;
    failures.push({ image, error: { code: error.code, message: failureOf(error).message } });
  };
  const labelled = asked.methods.map(({ label }, at) => ({ label, asked: methods[at]! }));
  const { signal, progress } = session;
  const { judged, evaluation, summary } = await resumable(await journalOf(model, flags), async (journal) => {
    const target = flags.target ?? 'top1';
    const judging = { model, methods: labelled, metrics, target, hasObjects, journal, signal, progress };
    const judgedOnes = await judgeAll(pictures, judging, failed);
    // Methods first, then pictures, then targets.
    const judgements = methods.flatMap((_, at) => judgedOnes.flatMap((each) => each.judgements[at]!));
    const whole = new Evaluation(judgements, asked);
    const means = whole.summary();
    if (flags.out !== undefined) await writeJudgements(flags.out, whole, flags.model);
    if (flags.html !== undefined) {
      const all = { evaluation: whole, summary: means, pictures: judgedOnes };
      await writeReport(flags.html, { ...all, model, dtype: flags.dtype, methods: labelled, signal, progress });
    }
    return { judged: judgedOnes, evaluation: whole, summary: means };
  });
  print(session, summary, evaluation, flags);
  let recommended: Recommendation | null = null;
  if (flags.recommend === true && judged.length > 0) {
    const seconds = await secondsOf(model, labelled, judged, signal);
    recommended = recommend(evaluation.methods, seconds, summary);
    printRecommendation(session, recommended);
  }
  session.answer({
    model: flags.model,
    images: judged.length,
    summary,
    judgements: evaluation.judgements.map(asJson),
    ...(flags.html !== undefined && { html: flags.html }),
    ...(recommended && { recommendation: recommended }),
    ...(failures.length > 0 && { failures }),
  });
  if (failures.length === 0) return;
  session.fail(
    `${failures.length} of ${pictures.length} pictures could not be judged: ${failures.map(({ error }) => error.message).join(' ')}`,
  );
  process.exitCode = 2;
}

/** Where judgements are kept until all is written; null where nothing is written. */
async function journalOf(model: Model, flags: EvaluateFlags): Promise<Journal | null> {
  const beside = flags.out ?? flags.html;
  if (beside === undefined) return null;
  return Journal.open(`${beside}.journal`, await questionOf(model, flags), { resume: flags.resume === true });
}

/** Ends the journal with the work: it goes where all was done, and is left where not. */
async function resumable<T>(journal: Journal | null, work: (journal: Journal | null) => Promise<T>): Promise<T> {
  let done: T;
  try {
    done = await work(journal);
  } catch (error) {
    const isKept = await journal?.leave();
    if (isKept !== true || !isAborted(error)) throw error;
    throw new SightlineError(
      'ABORTED',
      `Interrupted; what was judged is in ${journal!.path}, and the same command with --resume goes on from there.`,
      { cause: error },
    );
  }
  await journal?.finish();
  return done;
}

/** What figures depend on, beside the pictures. */
async function questionOf(model: Model, flags: EvaluateFlags): Promise<Question> {
  const { method, metric = DEFAULT_METRICS, target, output } = flags;
  return {
    'version of sightline': packageVersion(),
    'version of LibTorch': binding().versions().libtorch,
    model: [await modelContents(model.path), model.card],
    '--device': model.device,
    '--dtype': flags.dtype,
    '--output': output ?? null,
    '--method': method ?? 'all that apply',
    '--metric': metric,
    '--target': target ?? null,
  };
}

const isAborted = (error: unknown): boolean => error instanceof SightlineError && error.code === 'ABORTED';

function checkFlags(images: readonly string[], flags: EvaluateFlags): void {
  const { out, html, resume } = flags;
  checkLabelFlags(images, flags);
  if (flags.method === undefined && flags.recommend !== true) {
    throw new SightlineError('INVALID_OPTION', 'Name a method by --method, or try all that apply by --recommend.');
  }
  if (resume === true && out === undefined && html === undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      '--resume goes on from what lies beside --out or --html; name that file.',
    );
  }
  if (out !== undefined && !/\.(json|csv)$/i.test(out)) {
    throw new SightlineError('INVALID_OPTION', `--out ${out} names no format; end it in .json or .csv.`);
  }
}

function print(session: Session, summary: readonly Summary[], { metrics }: Evaluation, flags: EvaluateFlags): void {
  for (const { label, better } of metrics) {
    session.print(`${label} (${better} is better)`);
    const rows = bestFirst(summary, label, better).map(
      ({ method, mean, low, high, count, without, isBest, pValue }) => [
        method,
        Number.isNaN(mean) ? 'no figure' : short(mean),
        Number.isNaN(low) ? '' : `[${short(low)}, ${short(high)}]`,
        `${count} maps${without > 0 ? `, ${without} without` : ''}`,
        isBest ? 'best' : Number.isNaN(pValue) ? '' : `p = ${short(pValue)}`,
      ],
    );
    for (const line of aligned(rows)) session.print(line);
  }
  session.print('Intervals hold 95 %; p is of a paired test against the best.');
  if (flags.out !== undefined) session.print(`Every figure: ${flags.out}`);
  if (flags.html !== undefined) session.print(`Report: ${flags.html}`);
}

function printRecommendation(session: Session, { ranked, method }: Recommendation): void {
  session.print('By all metrics together');
  const rows = ranked.map((each) => [
    each.method,
    `mean place ${short(each.rank)}`,
    `${short(each.seconds)} s a picture`,
    each.isAsGood ? 'no metric tells it from the best' : '',
  ]);
  for (const line of aligned(rows)) session.print(line);
  session.print(`Recommended: ${method}`);
}
