import { SightlineError } from '../support/errors.js';
import { Value, type Axis } from './value.js';

/** The number of the sample that a loop's body computes, [batch]; the seed of its noise. */
export type Sample = Value;

/** What the engine counts in; a loop that long is aborted rather than awaited. */
const MOST_ROUNDS = 2 ** 31 - 1;

function checkCount(name: string, count: number): void {
  if (!Number.isSafeInteger(count) || count < 1 || count > MOST_ROUNDS) {
    throw new SightlineError(
      'INVALID_OPTION',
      `${name} counts ${count} samples; it must be a whole number from 1 to ${MOST_ROUNDS}.`,
    );
  }
}

/** How many samples each image takes, where images differ. */
export interface LoopOptions {
  /**
   * Axes [batch]: samples numbered from it on count as zeros, and the loop ends at the batch's largest. Default:
   * none.
   */
  readonly limit?: Value;
}

/** What a loop's body computes of a sample: one value, or several by name. */
type Results = Value | Readonly<Record<string, Value>>;

function sampled<Result extends Results>(
  op: 'accumulate' | 'concatenate',
  anchor: Value,
  count: number,
  body: (sample: Sample) => Result,
  { limit }: LoopOptions,
  axesOf: (result: Value) => Axis[],
): Result {
  checkCount(op, count);
  const plan = anchor.block.plan;
  const { block, result } = plan.nested((inner) => {
    inner.use(anchor);
    // The engine adds the sample numbers after all captures, so their register is entered at the end.
    const sample = new Value(inner, inner.register(), ['batch']);
    const returned = body(sample);
    const names = returned instanceof Value ? null : Object.keys(returned);
    const values = (returned instanceof Value ? [returned] : Object.values(returned)).map((value) => inner.use(value));
    if (values.length === 0 || values.some(({ axes }) => axes[0] !== 'batch')) {
      plan.refuse(`returns no value per image, with "batch" first, from the body of ${op}`);
    }
    inner.description.parameters.push(sample.register);
    inner.description.results.push(...values.map(({ register }) => register));
    return { names, values };
  });
  const outers = block.captures.map(({ outer }) => outer);
  const batched = outers.map(({ axes }) => (axes[0] === 'batch' ? 1 : 0));
  const inputs = limit === undefined ? outers : [...outers, limit];
  const outputs = plan.current.steps(
    op,
    inputs,
    result.values.map(axesOf),
    { count, batched, limited: limit !== undefined },
    { body: block.description },
  );
  return (
    result.names === null ? outputs[0] : Object.fromEntries(result.names.map((name, i) => [name, outputs[i]!]))
  ) as Result;
}

/**
 * The sum of `body` over samples 0 to count - 1: SmoothGrad, integrated gradients, RISE. A body that returns several
 * values by name gives as many sums. Samples are folded into the batch, as many at a time as the plan's memory allows.
 *
 * @param anchor any value of the surrounding block that the body reads
 */
export function accumulate<Result extends Results>(
  anchor: Value,
  count: number,
  body: (sample: Sample) => Result,
  options: LoopOptions = {},
): Result {
  return sampled('accumulate', anchor, count, body, options, (result) => [...result.axes]);
}

/**
 * The values that `body` gives for samples 0 to count - 1, along a new axis "sample" after the batch: Score-CAM,
 * occlusion. Several values by name are each laid out so.
 */
export function concatenate<Result extends Results>(
  anchor: Value,
  count: number,
  body: (sample: Sample) => Result,
  options: LoopOptions = {},
): Result {
  return sampled('concatenate', anchor, count, body, options, (result) => ['batch', 'sample', ...result.axes.slice(1)]);
}

/**
 * How often `divisor` goes into each number, whole numbers both; exact, where `floor(x / n)` may round to its neighbor.
 */
export function quotient(numbers: Value, divisor: number): Value {
  return whole('quotient', numbers, divisor);
}

/** The remainder of the division: 0 to divisor - 1. */
export function remainder(numbers: Value, divisor: number): Value {
  return whole('remainder', numbers, divisor);
}

function whole(op: 'quotient' | 'remainder', numbers: Value, divisor: number): Value {
  if (!Number.isSafeInteger(divisor) || divisor < 1 || divisor > MOST_ROUNDS) {
    numbers.block.plan.refuse(
      `takes the ${op} of a number by ${divisor}; it must be a whole number from 1 to ${MOST_ROUNDS}`,
    );
  }
  return numbers.block.plan.current.step(op, [numbers], numbers.axes, { divisor });
}

/**
 * The number of a sample as the numbers of loops within loops, the last counting fastest:
 * `unravel(sample, { round: rounds, channel: channels })` gives `{ round, channel }`, [batch] each.
 */
export function unravel<const Sizes extends Readonly<Record<string, number>>>(
  sample: Sample,
  sizes: Sizes,
): { readonly [Name in keyof Sizes]: Value } {
  const numbers: Record<string, Value> = {};
  let rest = sample;
  const names = Object.keys(sizes);
  for (const name of names.slice(1).reverse()) {
    numbers[name] = remainder(rest, sizes[name]!);
    rest = quotient(rest, sizes[name]!);
  }
  numbers[names[0]!] = rest;
  return numbers as { readonly [Name in keyof Sizes]: Value };
}

/** `count` rounds of state = body(state): activation maximization. */
export function iterate(start: Value, count: number, body: (state: Value, round: Value) => Value): Value {
  checkCount('iterate', count);
  const plan = start.block.plan;
  const { block } = plan.nested((inner) => {
    const state = inner.parameter(start.axes);
    const round = inner.parameter(['batch']);
    inner.description.results.push(inner.use(body(state, round)).register);
  });
  return plan.current.steps(
    'iterate',
    [start, ...block.captures.map(({ outer }) => outer)],
    [start.axes],
    { count },
    { body: block.description },
  )[0]!;
}

/**
 * Noise for a loop's sample: of the shape of a value, or [batch, ...] with the axes that are named with their sizes. It
 * depends on the seed and the sample only: every image of a batch gets the same, whatever the chunks. Where every image
 * takes one draw, `sample` is its number.
 *
 * @param distribution standard normal, or uniform on [0, 1)
 */
export function noise(like: Value, sample: Sample | number, seed: number, distribution: 'normal' | 'uniform'): Value;
export function noise(
  like: Readonly<Record<string, number>>,
  sample: Sample,
  seed: number,
  distribution: 'normal' | 'uniform',
): Value;
export function noise(
  like: Value | Readonly<Record<string, number>>,
  sample: Sample | number,
  seed: number,
  distribution: 'normal' | 'uniform',
): Value {
  const settings = { seed, distribution };
  if (!(like instanceof Value)) {
    return (sample as Sample).block.plan.current.step('noise', [sample as Sample], ['batch', ...Object.keys(like)], {
      ...settings,
      sizes: Object.values(like),
    });
  }
  const block = like.block.plan.current;
  return typeof sample === 'number'
    ? block.step('noise', [like], like.axes, { ...settings, sample })
    : block.step('noise', [like, sample], like.axes, settings);
}

/** A constant tensor, such as masks [sample, height, width]. `data` is row-major. */
export function constant(anchor: Value, data: Float32Array, axes: Readonly<Record<string, number>>): Value {
  const shape = Object.values(axes);
  if (shape.reduce((product, size) => product * size, 1) !== data.length) {
    throw new SightlineError(
      'INVALID_OPTION',
      `A constant holds ${data.length} values, but its axes ask for ${shape.join(' x ')}.`,
    );
  }
  return anchor.block.plan.current.steps('constant', [], [Object.keys(axes)], {}, { data, shape })[0]!;
}

/** The rows of `table` [n, ...] that the samples number: [batch, ...]. */
export function take(table: Value, sample: Sample): Value {
  return table.block.plan.current.step('take', [table, sample], ['batch', ...table.axes.slice(1)]);
}
