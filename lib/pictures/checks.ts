import { shown } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';

/** @throws SightlineError INVALID_OPTION for what is there and no string. */
export function checkText(name: string, value: unknown): void {
  if (value === undefined || typeof value === 'string') return;
  throw new SightlineError('INVALID_OPTION', `${name} is ${shown(value)}; give a string.`);
}

/** @throws SightlineError INVALID_OPTION for what is there and no list of strings. */
export function checkTexts(name: string, value: unknown): void {
  if (value === undefined) return;
  if (!Array.isArray(value)) {
    throw new SightlineError('INVALID_OPTION', `${name} is ${shown(value)}; give a list of strings.`);
  }
  value.forEach((text, i) => checkText(`${name}[${i}]`, text));
}

/** @throws SightlineError INVALID_OPTION for options that are no object. */
export function checkOptions(name: string, value: unknown): void {
  if (typeof value === 'object' && value !== null) return;
  throw new SightlineError('INVALID_OPTION', `The options of ${name} are ${shown(value)}; give an object.`);
}

/** @throws SightlineError INVALID_OPTION for what is no whole number of a range. */
export function checkWhole(name: string, value: unknown, least: number, most: number): void {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return;
  throw new SightlineError(
    'INVALID_OPTION',
    `${name} is ${shown(value)}; give a whole number from ${least} to ${most}.`,
  );
}
