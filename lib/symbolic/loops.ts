import { SightlineError } from '../support/errors.js';
import { Value, type Axis } from './value.js';

/** The number of the sample that a loop's body computes, [batch]; the seed of its noise. */
export type Sample = Value;

/** What the engine counts in; a loop that long is aborted rather than awaited. */
const MOST_ROUNDS = 2 ** 31 - 1;

function checkCount(name: string, count: number): void {
  if (!Number.isSafeInteger(count) || count < 1 || count > MOST_ROUNDS) throw new SightlineError('INVALID_OPTION', `${name} counts ${count} samples; it must be a whole number from 1 to ${MOST_ROUNDS}.`);
}

/** How many samples each image takes, where images differ. */
export interface LoopOptions {
  /**
   * Axes [batch]: samples numbered from it on count as zeros, and the loop ends at the batch's largest. Default:
   * none.
   */
  readonly limit?: Value;
}

function sampled(
  op: 'accumulate' | 'concatenate',
  anchor: Value,
  count: number,
  body: (sample: Sample) => Value,
  { limit }: LoopOptions,
  axesOf: (result: Value) => Axis[],
): Value {
  checkCount(op, count);
  const plan = anchor.block.plan;
  const { block, result } = plan.nested((inner) => {
    const anchored = inner.use(anchor);
    // The engine adds the sample numbers after all captures, so their register is entered at the end.
    const sample = new Value(inner, inner.register(), ['batch']);
    const value = inner.use(body(sample));
    if (value.axes[0] !== 'batch') throw new SightlineError('INVALID_OPTION', `The body of ${op} must return a value per image, with "batch" first.`);
    inner.description.parameters.push(sample.register);
    inner.description.results.push(value.register);
    return { value, anchored };
  });
  const outers = block.captures.map(({ outer }) => outer);
  const batched = outers.map(({ axes }) => (axes[0] === 'batch' ? 1 : 0));
  const inputs = limit === undefined ? outers : [...outers, limit];
  return plan.current.steps(op, inputs, [axesOf(result.value)], { count, batched, limited: limit !== undefined }, { body: block.description })[0]!;
}

/**
 * The sum of `body` over samples 0 to count - 1: SmoothGrad, integrated gradients, RISE. Samples are folded into the
 * batch, as many at a time as the plan's memory allows.
 *
 * @param anchor any value of the surrounding block that the body reads
 */
export function accumulate(anchor: Value, count: number, body: (sample: Sample) => Value, options: LoopOptions = {}): Value {
  return sampled('accumulate', anchor, count, body, options, (result) => [...result.axes]);
}

/** What `body` gives for samples 0 to count - 1, along a new axis "sample" after the batch: Score-CAM, occlusion. */
export function concatenate(anchor: Value, count: number, body: (sample: Sample) => Value, options: LoopOptions = {}): Value {
  return sampled('concatenate', anchor, count, body, options, (result) => ['batch', 'sample', ...result.axes.slice(1)]);
}

/** `count` rounds of state = body(state): activation maximisation. */
export function iterate(start: Value, count: number, body: (state: Value, round: Value) => Value): Value {
  checkCount('iterate', count);
  const plan = start.block.plan;
  const { block } = plan.nested((inner) => {
    const state = inner.parameter(start.axes);
    const round = inner.parameter(['batch']);
    inner.description.results.push(inner.use(body(state, round)).register);
  });
  return plan.current.steps('iterate', [start, ...block.captures.map(({ outer }) => outer)], [start.axes], { count }, { body: block.description })[0]!;
}

/**
 * Noise of the shape of `like`, for a loop's sample. It depends on the seed and the sample only: every image of a batch
 * gets the same, whatever the chunks.
 *
 * @param distribution standard normal, or uniform on [0, 1)
 */
export function noise(like: Value, sample: Sample, seed: number, distribution: 'normal' | 'uniform'): Value {
  return like.block.plan.current.step('noise', [like, sample], like.axes, { seed, distribution });
}

/** A constant tensor, such as masks [sample, height, width]. `data` is row-major. */
export function constant(anchor: Value, data: Float32Array, axes: Readonly<Record<string, number>>): Value {
  const shape = Object.values(axes);
  if (shape.reduce((product, size) => product * size, 1) !== data.length) {
    throw new SightlineError('INVALID_OPTION', `A constant holds ${data.length} values, but its axes ask for ${shape.join(' x ')}.`);
  }
  return anchor.block.plan.current.steps('constant', [], [Object.keys(axes)], {}, { data, shape })[0]!;
}

/** The rows of `table` [n, ...] that the samples number: [batch, ...]. */
export function take(table: Value, sample: Sample): Value {
  return table.block.plan.current.step('take', [table, sample], ['batch', ...table.axes.slice(1)]);
}
