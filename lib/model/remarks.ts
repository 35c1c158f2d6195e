import type { Inspection } from '../engine/inspection.js';
import { ambiguityOf } from '../requests/targets.js';

/** What is peculiar about an archive, as sentences for people. `isChosen`: what the user or the card said already. */
export function remarksOn(
  path: string,
  labels: readonly string[],
  inspection: Inspection,
  isChosen: { readonly output: boolean; readonly scores: boolean },
): string[] {
  const { wasTraining, canBatch, imagesInteract, outputs, output, scores, activation } = inspection;
  const remarks: string[] = [];
  const ambiguity = ambiguityOf(labels);
  if (ambiguity !== null) remarks.push(ambiguity);
  if (wasTraining) {
    remarks.push(`${path} was exported in training mode; it is run in inference mode. Call .eval() before exporting.`);
  }
  if (outputs.length > 1 && !isChosen.output) {
    remarks.push(
      `${path} returns ${outputs.map(({ name, shape }) => `${name} (${['N', ...shape.slice(1)].join(' x ')})`).join(', ')}; "${output}" is explained. Choose another by the option \`output\`.`,
    );
  }
  if (scores === 'yes-or-no' && activation === null && !isChosen.scores) {
    remarks.push(
      `${path} returns one number, taken for a yes-or-no logit: its score is the sigmoid. If it is a value, say so by \`scores: 'value'\`.`,
    );
  }
  if (activation !== null) {
    remarks.push(
      `${path} ends in ${activation.replace('_', ' ')}: its scores are taken as they are, and class-specific methods explain the logit before it.`,
    );
  }
  if (imagesInteract) {
    remarks.push(
      `${path} gives an image other values beside another image than alone (statistics or a scale are taken over the batch), so images are run one by one.`,
    );
  } else if (!canBatch) {
    remarks.push(
      `${path} has the shapes of one image written into it, so images are run one by one. Export it with a batch axis of any size.`,
    );
  }
  return remarks;
}
