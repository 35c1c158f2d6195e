import { SightlineError } from '../support/errors.js';
import { isObject } from '../support/json.js';

/**
 * Fields of a JSON file of a repository, read with the type that they must have; a wrong one is named in one sentence.
 */
export class ConfigFields {
  constructor(
    readonly fields: Readonly<Record<string, unknown>>,
    /** What messages call it, such as `config.json of org/name`. */
    readonly name: string,
    readonly prefix = '',
  ) {}

  /** @throws SightlineError INVALID_CARD when the text is not a JSON object. */
  static parse(text: string, name: string): ConfigFields {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new SightlineError('INVALID_CARD', `${name} is not JSON: ${(cause as Error).message}.`, { cause });
    }
    if (!isObject(value)) throw new SightlineError('INVALID_CARD', `${name} is not a JSON object.`);
    return new ConfigFields(value, name);
  }

  /** Whether it is there and not null. */
  has(field: string): boolean {
    return Object.hasOwn(this.fields, field) && this.fields[field] !== null;
  }

  get(field: string): unknown {
    return this.has(field) ? this.fields[field] : undefined;
  }

  number(field: string, otherwise?: number): number {
    return this.#typed(
      field,
      otherwise,
      'a number',
      (value): value is number => typeof value === 'number' && Number.isFinite(value),
    );
  }

  whole(field: string, otherwise?: number): number {
    return this.#typed(
      field,
      otherwise,
      'a whole number above 0',
      (value): value is number => Number.isSafeInteger(value) && (value as number) > 0,
    );
  }

  text(field: string, otherwise?: string): string {
    return this.#typed(field, otherwise, 'a text', (value): value is string => typeof value === 'string');
  }

  flag(field: string, otherwise: boolean): boolean {
    return this.#typed(field, otherwise, 'true or false', (value): value is boolean => typeof value === 'boolean');
  }

  numbers(field: string, otherwise?: readonly number[]): readonly number[] {
    return this.#typed(
      field,
      otherwise,
      'a list of numbers',
      (value): value is number[] =>
        Array.isArray(value) && value.every((each) => typeof each === 'number' && Number.isFinite(each)),
    );
  }

  /** A JSON object inside. */
  inside(field: string): ConfigFields {
    return new ConfigFields(this.#typed(field, {}, 'an object', isObject), this.name, `${this.prefix}${field}.`);
  }

  /** For what sightline's graphs cannot do: names the field, and the way that is left. */
  unsupported(field: string, why: string): SightlineError {
    return new SightlineError(
      'UNSUPPORTED_MODEL',
      `${this.name} says ${this.prefix}${field} = ${shown(this.get(field))}, but ${why}; export the model with models/export.py instead.`,
      { details: { field: `${this.prefix}${field}`, value: this.get(field) ?? null } },
    );
  }

  /**
   * @throws SightlineError UNSUPPORTED_MODEL when a field has another value than the one that the graph is made for.
   */
  require(field: string, value: string | number | boolean, otherwise: string | number | boolean): void {
    if ((this.get(field) ?? otherwise) !== value) {
      throw this.unsupported(field, `the graph that sightline has is made for ${shown(value)}`);
    }
  }

  invalid(field: string, expected: string): SightlineError {
    return new SightlineError(
      'INVALID_CARD',
      `${this.name} is wrong at ${this.prefix}${field}: ${expected} is expected, not ${shown(this.get(field))}.`,
    );
  }

  #typed<Value>(
    field: string,
    otherwise: Value | undefined,
    expected: string,
    fits: (value: unknown) => value is Value,
  ): Value {
    const value = this.get(field) ?? otherwise;
    if (!fits(value)) throw this.invalid(field, expected);
    return value;
  }
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}
