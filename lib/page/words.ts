import type { MethodDescription } from '../requests/describe.js';
import type { MapAnswer } from '../service/answers.js';
import type { Scale } from './paint.js';

/** What a sentence about a map needs. */
export interface Told {
  readonly model: string;
  readonly method: Pick<MethodDescription, 'name' | 'family' | 'isClassSpecific'>;
  readonly map: Pick<MapAnswer, 'target' | 'peak' | 'shape' | 'state'>;
  readonly scale: Scale | null;
}

export const percent = (share: number): string =>
  share >= 0.0995 ? `${Math.round(100 * share)} %` : `${(100 * share).toFixed(share < 0.00095 ? 2 : 1)} %`;

/** Which part of the picture a cell lies in. */
export function placeName(row: number, column: number, [rows, columns]: readonly [number, number]): string {
  const down = ['upper', 'middle', 'lower'][Math.min(2, Math.floor((3 * (row + 0.5)) / rows))]!;
  const across = ['left', 'center', 'right'][Math.min(2, Math.floor((3 * (column + 0.5)) / columns))]!;
  if (down === 'middle') return across === 'center' ? 'the center' : `the ${across}`;
  return across === 'center' ? `the ${down} middle` : `the ${down} ${across}`;
}

/** The sentence beside a map: its message. */
export function says({ model, method, map, scale }: Told): string {
  const { target, peak, shape, state } = map;
  if (state === 'flat') return 'Every value is the same, so nothing stands out, and nothing is painted.';
  if (state === 'nan') return 'Some values are no numbers, so nothing is painted.';
  const where = placeName(peak.row, peak.column, shape);
  if (!method.isClassSpecific) {
    return method.family === 'attention' ? `${model} drew most on ${where}.` : `${model} reacted most at ${where}.`;
  }
  if (target.against !== undefined) {
    return `The strongest evidence for ${target.label} over ${target.against.label} lies at ${where}.`;
  }
  const subject = `The strongest evidence for ${target.label} (${percent(target.score)}) lies at ${where}.`;
  return scale?.isSigned === true ? `${subject} Blue speaks against it.` : subject;
}

/** And the one that keeps it from being read as more. */
export function saysNot({ method, map: { target } }: Told): string {
  if (!method.isClassSpecific) {
    return 'It is the same for every class, and says nothing of for or against.';
  }
  if (target.against !== undefined) return 'It does not say that either class is right.';
  if (method.family === 'gradients') {
    return 'It shows which pixels move this score, not whether the model is right.';
  }
  return 'It shows where this model found its evidence, not where the object ends or whether the model is right.';
}

/** Three significant digits, as legends of the library have them. */
export function shortNumber(value: number): string {
  const number = Number(value.toPrecision(3));
  return (Math.abs(number) >= 1e-4 || number === 0 ? String(number) : number.toExponential(1)).replace('-', '−');
}
