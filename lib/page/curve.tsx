import { shortNumber } from './words.js';

interface Props {
  readonly points: readonly { readonly step: number; readonly activation: number }[];
  readonly steps: number;
}

const WIDTH = 320;
const HEIGHT = 96;

/** How the activation rose. */
export function Curve({ points, steps }: Props) {
  const values = points.map(({ activation }) => activation);
  const [min, max] = [Math.min(...values), Math.max(...values)];
  const x = (step: number): number => (WIDTH * step) / steps;
  const y = (value: number): number =>
    max > min ? HEIGHT - 4 - ((HEIGHT - 8) * (value - min)) / (max - min) : HEIGHT / 2;
  const line = points.map(({ step, activation }) => `${x(step).toFixed(1)},${y(activation).toFixed(1)}`).join(' ');
  const last = points.at(-1)!;
  return (
    <figure class="curve">
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={`Activation from ${shortNumber(values[0]!)} to ${shortNumber(last.activation)} in ${last.step} steps`}
      >
        <polyline points={line} />
        <circle cx={x(last.step)} cy={y(last.activation)} r="3.500" />
      </svg>
      <figcaption>
        <span>Activation {shortNumber(values[0]!)}</span>
        <span>{shortNumber(last.activation)}</span>
      </figcaption>
    </figure>
  );
}
