import { writeFile } from 'node:fs/promises';

import type { Judgement } from '../../requests/evaluate/evaluate.js';
import type { Evaluation } from '../../requests/evaluate/evaluation.js';
import { SightlineError } from '../../support/errors.js';
import { firstLine } from '../../support/files.js';

/** A judgement as JSON holds it. */
export function asJson({ image, method, target, state, figures, curves }: Judgement): object {
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

/**
 * Writes every figure, as JSON with curves or as CSV, by the name's ending.
 *
 * @throws SightlineError INVALID_OPTION where it cannot be written
 */
export async function writeJudgements(file: string, { judgements, metrics }: Evaluation, model: string): Promise<void> {
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
