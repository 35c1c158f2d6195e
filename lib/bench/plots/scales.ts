/** From values to pixels along one axis, and the values at which it is marked. */
export interface Scale {
  readonly ticks: readonly number[];
  readonly at: (value: number) => number;
}

/** Between round numbers that hold all values, in steps of 1, 2 or 5 times a power of ten, about `count` of them. */
export function spanScale(values: readonly number[], from: number, to: number, count = 5): Scale {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const step = roundStep(high > low ? (high - low) / count : Math.abs(high) / count || 1 / count);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return {
    ticks: Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12))),
    at: (value) => from + ((to - from) * (value / step - first)) / (last - first),
  };
}

/** The first of 1, 2 or 5 times a power of ten that is not below `least`. */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= least * (1 - 1e-9))!;
}

/** From 0 to a round number not below `highest`, in steps of 1, 2 or 5 times a power of ten, about `count` of them. */
export function linearScale(highest: number, from: number, to: number, count = 5): Scale {
  const top = highest > 0 ? highest : 1;
  const step = roundStep(top / count);
  const steps = Math.ceil(top / step - 1e-9);
  return {
    ticks: Array.from({ length: steps + 1 }, (_, i) => Number((i * step).toPrecision(12))),
    at: (value) => from + ((to - from) * value) / (steps * step),
  };
}

/**
 * Logarithmic, between the 1, 2 or 5 times a power of ten at or below `lowest` and those at or above `highest`; values
 * above 0.
 */
export function logScale(lowest: number, highest: number, from: number, to: number): Scale {
  const marks: number[] = [];
  for (let power = Math.floor(Math.log10(lowest)); power <= Math.ceil(Math.log10(highest)); power++) {
    for (const factor of [1, 2, 5]) marks.push(Number(`${factor}e${power}`));
  }
  const first = marks.findLastIndex((mark) => mark <= lowest);
  let last = marks.findIndex((mark) => mark >= highest);
  if (last <= first) last = first + 1;
  const ticks = marks.slice(first, last + 1);
  const [low, high] = [Math.log(ticks[0]!), Math.log(ticks.at(-1)!)];
  return { ticks, at: (value) => from + ((to - from) * (Math.log(value) - low)) / (high - low) };
}

/** Doublings equally far apart, marked where something was measured; one value alone stands in the middle. */
export function doublingScale(values: readonly number[], from: number, to: number): Scale {
  const ticks = [...new Set(values)].sort((a, b) => a - b);
  const [low, high] = [Math.log2(ticks[0]!), Math.log2(ticks.at(-1)!)];
  return {
    ticks,
    at: (value) => (low === high ? (from + to) / 2 : from + ((to - from) * (Math.log2(value) - low)) / (high - low)),
  };
}
