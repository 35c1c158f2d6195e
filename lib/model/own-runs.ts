import type { Inspection } from '../engine/inspection.js';
import type { TensorInput } from '../images/inputs.js';
import { maximize, type MaximizeContext, type Maximized, type MaximizeRequest } from '../requests/maximize/maximize.js';
import { untilAborted } from '../support/abort.js';
import type { CardInForce } from './card-in-force.js';
import type { Inspections } from './inspections.js';
import { KeptPlans } from './kept-plans.js';
import type { Submissions } from './submission.js';

/** An image of zeros, as the model takes it. */
export function blankImage({ height, width, channels, isChannelsLast }: Inspection): TensorInput {
  return {
    data: new Float32Array(channels * height * width),
    shape: isChannelsLast ? [1, height, width, channels] : [1, channels, height, width],
  };
}

/** Maximizes on a model at its card's size. Plans are kept for this one call, which repeats them. */
export async function maximizeOn(
  request: MaximizeRequest,
  inForce: CardInForce,
  inspections: Inspections,
  submissions: Submissions,
): Promise<Maximized> {
  const { signal, client } = request;
  const { card, labels } = inForce.required;
  const inspection = await untilAborted(inspections.at(card.input.height, card.input.width), signal);
  const ownPlans = new KeptPlans();
  const run: MaximizeContext['run'] = (input, key, record) =>
    submissions.askOne(
      input,
      { key, targetsOf: () => [], record, read: (result) => result },
      { signal, client },
      ownPlans,
    );
  return maximize(request, { inspection, card, labels, run });
}
