import { isDeepStrictEqual } from 'node:util';

import { z } from 'zod';

import type { Inspection } from '../../engine/inspection.js';
import { cut } from '../../support/cut.js';
import { SightlineError } from '../../support/errors.js';
import { parseOptions, reading, readOptions } from '../../support/options.js';
import type { EvaluateOptions, JudgedMethod } from '../evaluate/evaluate.js';
import { parseEvaluateOptions, type LabelledMetric } from '../evaluate/options.js';
import type { ObjectPlace } from '../evaluate/mask.js';
import { classTargetsSchema, commonSchema } from '../explain-options.js';
import type { ExplainRequest } from '../explain.js';
import type { SearchOptions, SearchSpace } from './search.js';
import { combinations, defaultSpaces } from './space.js';

/** Each is recorded on the JavaScript thread. */
const MOST = 2000;

const SEED = 'a whole number from 0 to 4294967295 is expected';
const { score, memory, signal } = commonSchema.shape;
const schema = z.strictObject({
  candidates: z
    .array(z.unknown(), { error: 'a list of methods or of spaces of their options is expected' })
    .min(1, { error: 'name at least one method, or leave it out' })
    .optional(),
  metric: z.unknown(),
  heldOut: z
    .number({ error: 'a share of at least 0 and below 1 is expected' })
    .min(0, { error: 'a share of at least 0 and below 1 is expected' })
    .lt(1, { error: 'a share of at least 0 and below 1 is expected' })
    .default(0.5),
  seed: z.int({ error: SEED }).min(0, { error: SEED }).max(4_294_967_295, { error: SEED }).default(0),
  objects: z.array(z.unknown()).optional(),
  onProgress: z
    .custom<NonNullable<SearchOptions['onProgress']>>((value) => typeof value === 'function', {
      error: 'a function is expected',
    })
    .optional(),
  targets: classTargetsSchema,
  score,
  memory,
  signal,
});

/** A candidate, checked as far as can be without the model. */
export interface Candidate {
  readonly label: string;
  readonly options: JudgedMethod;
  readonly request: ExplainRequest;
  /** The place of the candidate that is its method with the paper's options. */
  readonly paper: number;
}

/** What is asked of a search. */
export interface SearchRequest {
  readonly candidates: readonly Candidate[];
  readonly metric: LabelledMetric;
  readonly objects: readonly ObjectPlace[] | null;
  readonly targets: SearchOptions['targets'];
  readonly heldOut: number;
  readonly seed: number;
  readonly onProgress: SearchOptions['onProgress'];
  readonly signal: AbortSignal | undefined;
}

/** @throws SightlineError INVALID_OPTION */
export function parseSearchOptions(options: SearchOptions, inspection: Inspection): SearchRequest {
  const {
    candidates: given,
    metric,
    heldOut,
    seed,
    objects,
    onProgress,
    ...common
  } = parseOptions(schema, options, 'search');
  const asked = reading('A candidate of search', () => (given ?? defaultSpaces(inspection)).flatMap(takenApart));
  if (asked.length > MOST) {
    throw new SightlineError(
      'INVALID_OPTION',
      `search was given ${asked.length.toLocaleString('en-US')} candidates, and takes at most ${MOST.toLocaleString('en-US')}; try fewer values of an option.`,
    );
  }
  const judged: { options: object; label: string }[] = [];
  const placeOf = new Map<string, number>();
  const placed = (candidate: { options: object; label: string }): number => {
    const known = placeOf.get(candidate.label);
    if (known !== undefined) {
      if (isDeepStrictEqual(judged[known]!.options, candidate.options)) return known;
      throw new SightlineError(
        'INVALID_OPTION',
        `search has two different candidates "${cut(candidate.label)}"; tell them apart by a \`label\`.`,
      );
    }
    placeOf.set(candidate.label, judged.length);
    return judged.push(candidate) - 1;
  };
  // The default of a method is among the candidates, asked for or not: it is what a winner is better than.
  const papers = asked.map(({ options, label, method }) => {
    placed({ options, label });
    return placed(typeof method === 'string' ? { options: { method }, label: method } : { options, label });
  });
  const paperOf = new Map(asked.map(({ label }, i) => [label, papers[i]!]));
  if (judged.length < 2) {
    throw new SightlineError(
      'INVALID_OPTION',
      'search was given one candidate; give at least two, or the values of an option by `over`.',
    );
  }
  const parse = (methods: readonly object[], metrics: readonly unknown[], places: unknown) =>
    parseEvaluateOptions({ ...common, methods, metrics, objects: places } as unknown as EvaluateOptions);
  const judging = parse([judged[0]!.options], [metric], objects);
  const requests = judged.map(({ options: own }) => parse([own], ['sparseness'], undefined).methods[0]!.request);
  return {
    candidates: judged.map(({ options: own, label }, i) => ({
      label,
      options: own as JudgedMethod,
      request: requests[i]!,
      paper: paperOf.get(label) ?? i,
    })),
    metric: judging.metrics[0]!,
    objects: judging.objects,
    targets: common.targets,
    heldOut,
    seed,
    onProgress,
    signal: common.signal,
  };
}

interface Asked {
  readonly options: object;
  readonly label: string;
  readonly method: unknown;
}

/** A space as its candidates; a method, or its options, as one. */
function takenApart(asked: unknown): Asked[] {
  if (typeof asked === 'string') return [{ options: { method: asked }, label: asked, method: asked }];
  if (typeof asked !== 'object' || asked === null) {
    throw new SightlineError(
      'INVALID_OPTION',
      'A candidate of search is the name of a method, its options, or { method, over: { option: [values] } }.',
    );
  }
  const { label, ...own } = readOptions(asked, 'search');
  const { method, over, ...others } = own;
  if (over === undefined) {
    const words = Object.entries(others).map(([name, value]) => `${name}=${cut(JSON.stringify(value))}`);
    const name = typeof method === 'string' ? method : String((method as { name?: unknown } | null)?.name);
    return [{ options: own, label: typeof label === 'string' ? label : [name, ...words].join(' '), method }];
  }
  const lists = typeof over === 'object' && over !== null ? Object.entries(over) : [];
  const wrong = lists.find(([, values]) => !Array.isArray(values) || values.length === 0);
  if (lists.length === 0 || wrong !== undefined || typeof method !== 'string') {
    throw new SightlineError(
      'INVALID_OPTION',
      `The space of ${typeof method === 'string' ? cut(method) : 'a method'} is wrong${wrong ? ` at \`${cut(wrong[0])}\`` : ''}: give { method: 'grad-cam', over: { option: [values] } }.`,
    );
  }
  // Before they are made.
  const count = lists.reduce((product, [, values]) => product * (values as unknown[]).length, 1);
  if (count > MOST) {
    throw new SightlineError(
      'INVALID_OPTION',
      `The space of ${cut(method)} has ${count.toLocaleString('en-US')} candidates, and search takes at most ${MOST.toLocaleString('en-US')}; try fewer values of an option.`,
    );
  }
  return combinations(own as unknown as SearchSpace).map((each) => ({ ...each, method }));
}
