import { splitInput, type Input } from '../../images/inputs.js';
import { SightlineError } from '../../support/errors.js';
import { throwIfAborted } from '../../support/abort.js';
import { reading } from '../../support/options.js';
import { uniformNumbers } from '../../support/random.js';
import { checkObjects } from '../evaluate/request.js';
import { bootstrapMean, pairedTest } from '../evaluate/statistics.js';
import { checkTargetLists } from '../explain-request.js';
import type { Request } from '../question.js';
import type { Candidate, SearchRequest } from './options.js';
import { figuresRequest } from './request.js';
import type { SearchCandidate, SearchGain, SearchResult } from './search.js';

/** Candidates of one plan: what they have in common is computed once for each plan. */
const TOGETHER = 256;

/** What is asked of the model about images: for each image its answer. */
export type Ask = <Answer>(images: readonly Input[], request: Request<Answer>) => Promise<Answer[]>;

/**
 * Judges every candidate on a part of the images, and the best one and the default of its method on the others.
 *
 * @throws SightlineError INVALID_OPTION, and those of `ask`
 */
export async function runSearch(
  images: Input | readonly Input[],
  request: SearchRequest,
  ask: Ask,
): Promise<SearchResult> {
  const { candidates, metric, heldOut, seed, signal, onProgress } = request;
  const given = Array.isArray(images) ? (images as readonly Input[]) : [images as Input];
  const inputs = given.flatMap((image, i) => {
    const name = `image-${i}`;
    return reading(name, () => splitInput(image, name), 'INVALID_INPUT').map(({ input }) => input);
  });
  checkTargetLists(request.targets, inputs.length);
  checkObjects(request.objects, inputs.length);
  const order = shuffledPlaces(inputs.length, seed);
  const out = Math.floor(heldOut * inputs.length);
  const [deciding, others] = [order.slice(out).sort(ascending), order.slice(0, out).sort(ascending)];
  if (deciding.length === 0) throw new SightlineError('INVALID_OPTION', 'search was given no image to decide by.');
  const groups = Math.ceil(candidates.length / TOGETHER);
  const total = deciding.length * groups + others.length;
  let done = 0;
  const onImage = (): void => onProgress?.({ done: ++done, total });

  /** For each candidate its figures, map by map. */
  const judge = async (some: readonly Candidate[], places: readonly number[]): Promise<number[][]> => {
    throwIfAborted(signal);
    const part = <T>(all: readonly T[]): T[] => places.map((place) => all[place]!);
    const { targets, objects } = request;
    const figures = await ask(
      part(inputs),
      figuresRequest(
        some,
        {
          ...request,
          objects: objects === null ? null : part(objects),
          targets: targets?.some(Array.isArray) ? part(targets as readonly (readonly number[])[]) : targets,
        },
        onImage,
      ),
    );
    const maps = figures.flat();
    return some.map((_, at) => maps.map((map) => map[at]!));
  };

  const figures: number[][] = [];
  for (let start = 0; start < candidates.length; start += TOGETHER) {
    figures.push(...(await judge(candidates.slice(start, start + TOGETHER), deciding)));
  }
  const { better } = metric.metric;
  const results = candidates.map(({ options, label }, i): SearchCandidate => {
    const own = figures[i]!;
    const finite = own.filter(Number.isFinite);
    return {
      options,
      label,
      mean: finite.reduce((sum, value) => sum + value, 0) / finite.length,
      count: finite.length,
      without: own.length - finite.length,
    };
  });
  // One that marks nothing where it is hard would win by the images that are left.
  const isWhole = candidates.map(({ paper }, i) => results[i]!.count > 0 && results[i]!.count >= results[paper]!.count);
  const sign = better === 'higher' ? -1 : 1;
  const ranked = Array.from(candidates.keys()).sort(
    (a, b) => Number(isWhole[b]) - Number(isWhole[a]) || sign * (results[a]!.mean - results[b]!.mean) || a - b,
  );
  const best = ranked[0]!;
  if (!isWhole[best]) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `No candidate has a figure of ${metric.label} on these images: their maps mark nothing, or the metric is not defined.`,
    );
  }
  const paper = candidates[best]!.paper;
  const gainOf = (of: readonly number[], than: readonly number[], count: number): SearchGain => {
    const differences = of.map((figure, i) => sign * (than[i]! - figure)).filter(Number.isFinite);
    const interval = (values: readonly number[]) => bootstrapMean(values.filter(Number.isFinite), 0.95, seed);
    return {
      best: interval(of),
      paper: interval(than),
      gain: interval(differences),
      pValue: pairedTest(differences, seed),
      images: count,
    };
  };
  const held = others.length === 0 ? null : await judge([candidates[best]!, candidates[paper]!], others);
  return {
    metric: metric.label,
    better,
    best: results[best]!,
    candidates: ranked.map((i) => results[i]!),
    chosenOn: gainOf(figures[best]!, figures[paper]!, deciding.length),
    heldOut: held === null ? null : gainOf(held[0]!, held[1]!, others.length),
  };
}

const ascending = (a: number, b: number): number => a - b;

/** 0, 1, ... in an order drawn by the seed (Fisher and Yates). */
function shuffledPlaces(count: number, seed: number): number[] {
  const uniform = uniformNumbers(seed);
  const places = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const other = Math.floor(uniform() * (i + 1));
    [places[i], places[other]] = [places[other]!, places[i]!];
  }
  return places;
}
