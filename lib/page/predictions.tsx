import type { Prediction } from '../requests/heatmap.js';
import type { Target } from './state.js';
import { percent } from './words.js';

interface Props {
  readonly predictions: readonly Prediction[];
  /** What is explained; the first prediction where nothing was chosen. */
  readonly target: Target;
  /** Scores that are no probabilities have no bars. */
  readonly isProbability: boolean;
  /** Null where nothing can be asked any more. */
  readonly onTarget: ((target: Target) => void) | null;
}

/** Classes as bars: a click explains one, a click on "vs" sets a second against it. */
export function Predictions({ predictions, target, isProbability, onTarget }: Props) {
  const classes = (
    <ol class="predictions">
      {predictions.map(({ index, label, score }) => {
        const isOf = index === target.of;
        const isAgainst = index === target.against;
        return (
          <li key={index} class={isOf ? 'of' : isAgainst ? 'against' : ''}>
            <button
              type="button"
              class="class"
              aria-pressed={isOf}
              title={`Explain ${label}`}
              disabled={onTarget === null}
              onClick={(event) =>
                onTarget?.(event.shiftKey && !isOf ? { of: target.of, against: index } : { of: index })
              }
            >
              <span class="bar" style={{ width: isProbability ? `${100 * score}%` : '0' }} />
              <span class="label">{label}</span>
              <span class="score">{isProbability ? percent(score) : score.toPrecision(3)}</span>
            </button>
            {onTarget !== null && (
              <button
                type="button"
                class="versus"
                aria-pressed={isAgainst}
                aria-label={`vs ${label}`}
                title={isAgainst ? 'Leave the contrast' : `Contrast with ${label}`}
                disabled={isOf}
                onClick={() => onTarget(isAgainst ? { of: target.of } : { of: target.of, against: index })}
              >
                vs
              </button>
            )}
          </li>
        );
      })}
    </ol>
  );
  if (onTarget === null) return classes;
  return (
    <div>
      <p class="hint">Click a class to explain it, or vs to set it against the chosen one.</p>
      {classes}
    </div>
  );
}
