import type { Request } from '../question.js';
import type { EvaluateOptions, Judgement } from './evaluate.js';
import { Evaluation } from './evaluation.js';
import { parseEvaluateOptions } from './options.js';
import { judgementRequest } from './request.js';

/**
 * Judges one method after the other.
 *
 * @param ask asks the model about the images, and gives an answer for each
 * @throws SightlineError INVALID_OPTION, and those of `ask`
 */
export async function judge(
  options: EvaluateOptions,
  ask: <Answer>(request: Request<Answer>) => Promise<Answer[]>,
): Promise<Evaluation> {
  const request = parseEvaluateOptions(options);
  const judgements: Judgement[] = [];
  for (const [at, method] of request.methods.entries()) {
    judgements.push(...(await ask(judgementRequest(method, request, at))).flat());
  }
  return new Evaluation(judgements, request);
}
