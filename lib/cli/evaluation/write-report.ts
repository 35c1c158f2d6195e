import { describeMachine, packageVersion } from '../../bench/machine.js';
import { binding } from '../../engine/binding.js';
import type { Model } from '../../model/model.js';
import type { Evaluation, Summary } from '../../requests/evaluate/evaluation.js';
import { writePage } from '../output-files.js';
import { commandLine } from '../words.js';
import type { JudgedPicture } from './judging.js';
import { examplesOf, Overlays, type AskedMethod } from './report-examples.js';
import { reportHtml } from './report.js';

/** What was judged, for a report of it. */
export interface Judged {
  readonly model: Model;
  readonly dtype: string;
  readonly methods: readonly AskedMethod[];
  readonly pictures: readonly JudgedPicture[];
  readonly evaluation: Evaluation;
  readonly summary: readonly Summary[];
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

/**
 * Explains the best and the worst pictures once more, each by each method, and writes the report.
 *
 * @throws SightlineError those of `explain`; INVALID_OPTION where the file cannot be written
 */
export async function writeReport(file: string, judged: Judged): Promise<void> {
  const { model, dtype, methods, pictures, evaluation, summary, signal, progress } = judged;
  const examples = evaluation.metrics.map(({ label, better }) => examplesOf(pictures, label, better));
  const shown = examples.flatMap(({ best, worst }) => [...best, ...worst]);
  const overlays = new Overlays(model, methods, signal);
  for (const [at, example] of shown.entries()) {
    progress(`${at} of ${shown.length} pictures of the report drawn`);
    await overlays.draw(example);
  }
  const { cpu, cores } = describeMachine();
  const html = reportHtml({
    model: model.card.name,
    facts: [
      `Computed on ${model.device}, in ${dtype}, by sightline ${packageVersion()} with LibTorch ${binding().versions().libtorch}.`,
      `The machine has ${cores} cores${cpu === null ? '' : ` (${cpu})`}.`,
    ],
    command: commandLine(),
    // A picture of several classes is judged once for each.
    pictures: new Set(pictures.map(({ image }) => image)).size,
    evaluation,
    summary,
    costs: overlays.costs(),
    examples,
    overlayOf: (example, method) => overlays.uriOf(example, method),
  });
  await writePage(file, html);
}
