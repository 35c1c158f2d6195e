import { abs, clamp, sum, type Value } from '../../symbolic/index.js';
import { SPACE } from '../axes.js';

/** Below this a score counts as unchanged, and the relative error is that of this difference. */
const SMALLEST_CHANGE = 1e-6;
/** Within float32. */
const LARGEST = 3e38;

/** By how much attributions [batch, channels, height, width] miss what the score gains, [batch]: the map's figures. */
export function completeness(attributions: Value, gain: Value): Readonly<Record<string, Value>> {
  const error = sum(attributions, ['channels', ...SPACE]).sub(gain);
  return {
    completenessError: error,
    relativeCompletenessError: abs(error).div(clamp(abs(gain), SMALLEST_CHANGE, LARGEST)),
  };
}
