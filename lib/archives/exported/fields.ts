import { isObject } from '../../support/json.js';
import { damaged, printable } from '../refusal.js';

/** A part of a JSON file of the archive, read field by field: whatever is not as it must be is refused by its path. */
export class Fields {
  private constructor(
    private readonly value: unknown,
    private readonly path: string,
    private readonly member: string,
    private readonly archive: string,
  ) {}

  static of(value: unknown, member: string, archive: string): Fields {
    return new Fields(value, '', member, archive);
  }

  /** Refuses the file for what stands here. */
  wrong(what: string): Error {
    const { archive, member } = this;
    return damaged({ archive, member, what: this.path === '' ? what : `has at ${printable(this.path)} ${what}` });
  }

  at(key: string): Fields {
    return this.inner(this.object()[key], this.path === '' ? key : `${this.path}.${key}`);
  }

  private inner(value: unknown, path: string): Fields {
    return new Fields(value, path, this.member, this.archive);
  }

  get isMissing(): boolean {
    return this.value === undefined || this.value === null;
  }

  object(): Record<string, unknown> {
    if (!isObject(this.value)) throw this.wrong('no object');
    return this.value;
  }

  entries(): [key: string, value: Fields][] {
    return Object.entries(this.object()).map(([key, value]) => [
      key,
      this.inner(value, `${this.path}[${JSON.stringify(key.slice(0, 80))}]`),
    ]);
  }

  list(): Fields[] {
    if (!Array.isArray(this.value)) throw this.wrong('no list');
    return this.value.map((each: unknown, i) => this.inner(each, `${this.path}[${i}]`));
  }

  text(): string {
    if (typeof this.value !== 'string') throw this.wrong('no text');
    return this.value;
  }

  bool(): boolean {
    if (typeof this.value !== 'boolean') throw this.wrong('neither true nor false');
    return this.value;
  }

  /** A whole number. What lies next to 2^63, to which slices run, JSON.parse makes 2^63 of. */
  int(): number {
    const { value } = this;
    if (typeof value !== 'number' || !Number.isInteger(value)) throw this.wrong('no whole number');
    if (!Number.isSafeInteger(value) && Math.abs(value) !== 2 ** 63) {
      throw this.wrong(`the whole number ${value}, which is too large`);
    }
    return value;
  }

  /** A length, an offset or a stride: 0 or more, in numbers that JavaScript counts with. */
  count(): number {
    const value = this.int();
    if (value < 0 || value > Number.MAX_SAFE_INTEGER) throw this.wrong(`the length ${value}`);
    return value;
  }

  /** A number, or Python's word for one that JSON has not. */
  float(): number {
    const { value } = this;
    if (typeof value === 'number') return value;
    if (value === 'Infinity') return Infinity;
    if (value === '-Infinity') return -Infinity;
    if (value === 'NaN') return NaN;
    throw this.wrong('no number');
  }

  /** Of `{ "as_int": 1 }`: which of several it is. Keys that are null say nothing. */
  choice(): [kind: string, value: Fields] {
    const said = this.entries().filter(([, value]) => !value.isMissing);
    if (said.length !== 1) throw this.wrong(`${said.length} values where one belongs`);
    return said[0]!;
  }
}
