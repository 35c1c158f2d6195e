import type { Inspection } from '../../engine/inspection.js';
import type { Input } from '../../images/inputs.js';
import { throwIfAborted } from '../../support/abort.js';
import { SightlineError } from '../../support/errors.js';
import { uniformNumbers } from '../../support/random.js';
import { bootstrapMean } from '../evaluate/statistics.js';
import type { Explanation } from '../explain.js';
import type { Target } from '../targets.js';
import { parseSanityOptions } from './options.js';
import type { SanityCheck, SanityOptions, SanityStep } from './sanity.js';
import { similarityOf } from './similarity.js';
import { stagesOf } from './stages.js';

/** What is asked of a model. */
interface Explainer {
  explain(images: Input | readonly Input[], options: object): Promise<Explanation<string, unknown>[]>;
}

/** A model that can be shuffled. */
export interface Checked extends Explainer {
  inspect(): Promise<Inspection>;
  shuffled(options: {
    readonly seed: number;
    readonly layers?: readonly string[];
    readonly signal: AbortSignal | undefined;
  }): Promise<Explainer & { close(): Promise<void> }>;
}

/**
 * Compares a method's maps before and after a change that they should follow (Adebayo et al., Sanity Checks for
 * Saliency Maps, NeurIPS 2018; random logit: Sixt, Granz & Landgraf, ICML 2020).
 *
 * @throws SightlineError INVALID_OPTION, METHOD_NOT_APPLICABLE, UNKNOWN_NODE, and those of `explain` and `shuffled`
 */
export async function checkSanity(
  images: Input | readonly Input[],
  options: SanityOptions,
  model: Checked,
): Promise<SanityCheck> {
  const request = parseSanityOptions(options);
  const { check, name, method, similarity, seed, signal, onProgress } = request;
  const asked = { ...method, raw: true, size: 'image', signal };
  const inspection = await model.inspect();
  if (inspection.classes < 2) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `A sanity check compares maps of a class, and the model scores ${inspection.classes} of them.`,
    );
  }
  const before = await model.explain(images, { ...asked, ...(request.targets && { targets: request.targets }) });
  // The same classes, whatever a changed model predicts.
  const explained = before.map(({ maps }) => maps.map(({ target }) => targetOf(target)));
  const compare = (layer: string, after: readonly Explanation<string, unknown>[]): SanityStep => {
    const similarities = before.flatMap(({ maps }, image) =>
      maps.map((map, at) => similarityOf(map, after[image]!.maps[at]!, similarity)),
    );
    return { layer, similarities, ...bootstrapMean(similarities.filter(Number.isFinite), 0.95, seed) };
  };
  if (check === 'random-logit') {
    const others = otherClasses(explained, inspection.classes, seed);
    const step = compare('', await model.explain(images, { ...asked, targets: others }));
    onProgress?.({ done: 1, total: 1 });
    return { check, method: name, similarity, steps: [step] };
  }
  if (!inspection.hasModuleNames) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      'The weights cannot be shuffled: they are constants of the graph, as in frozen and quantized models.',
    );
  }
  const stages = request.layers ?? stagesOf(inspection.nodes);
  const steps: SanityStep[] = [];
  const cascade: string[] = [];
  let total = stages.length;
  for (const [at, layer] of stages.entries()) {
    throwIfAborted(signal);
    // What belongs to no layer, such as a class token, is shuffled with the last of the network's own.
    const isAll = check === 'cascading' && request.layers === null && at === stages.length - 1;
    const layers = check === 'independent' ? [layer] : [...cascade, layer];
    let changed;
    try {
      changed = await model.shuffled({ seed, signal, ...(!isAll && { layers }) });
    } catch (error) {
      // A stage of the network's own may have no weights, such as a norm without any: operators do not tell.
      if (request.layers !== null || !(error instanceof SightlineError) || error.code !== 'UNKNOWN_NODE') throw error;
      total--;
      continue;
    }
    cascade.push(layer);
    try {
      steps.push(compare(layer, await changed.explain(images, { ...asked, targets: explained })));
    } finally {
      await changed.close();
    }
    onProgress?.({ done: steps.length, total });
  }
  return { check, method: name, similarity, steps };
}

function targetOf({
  index,
  against,
}: {
  readonly index: number;
  readonly against?: { readonly index: number };
}): Target {
  return against === undefined ? index : { of: index, against: against.index };
}

/** For each target another class, drawn by the seed. */
function otherClasses(explained: readonly (readonly Target[])[], classes: number, seed: number): number[][] {
  const uniform = uniformNumbers(seed);
  return explained.map((targets) =>
    targets.map((target) => {
      const own = (typeof target === 'object' ? target.of : target) as number;
      const drawn = Math.floor(uniform() * (classes - 1));
      return drawn < own ? drawn : drawn + 1;
    }),
  );
}
