import { accumulate, constant, grad, take, type Run, type SymbolicModel, type Value } from '../../symbolic/index.js';

/** The line from a baseline to the image. */
export interface StraightLine {
  /** From its beginning to its end: the image less the baseline. */
  readonly way: Value;
  /** The run at a share of the way, [batch]. */
  readonly runAt: (share: Value) => Run;
}

/** The line from `baseline`, null for zeros, to the model's image. */
export function straightLine(model: SymbolicModel, baseline: Value | null): StraightLine {
  const way = baseline === null ? model.image : model.image.sub(baseline);
  return {
    way,
    runAt: (share) => {
      const traveled = way.mul(share);
      return model.run(baseline === null ? traveled : traveled.add(baseline));
    },
  };
}

/** The gradients of the score at shares `points` of the way, weighted by `weights`, summed. */
export function gradientAlong(
  { way, runAt }: StraightLine,
  points: readonly number[],
  weights: readonly number[],
): Value {
  const table = (values: readonly number[]): Value =>
    constant(way, Float32Array.from(values), { point: points.length });
  const [shares, shareWeights] = [table(points), table(weights)];
  return accumulate(way, points.length, (sample) => {
    const run = runAt(take(shares, sample));
    return grad(run.score, run.image).mul(take(shareWeights, sample));
  });
}
