import type { ProgramArgument } from '../../engine/exported-program.js';
import type { Placed } from './names.js';

/** An operator of a program while its graph may still be rewritten. */
export interface Draft {
  operator: string;
  overload: string | null;
  inputs: readonly (readonly [name: string, argument: ProgramArgument])[];
  outputs: readonly (string | readonly string[] | null)[];
  readonly calls: Placed['calls'];
}

/** What the file says of a tensor: numbers, and expressions of sizes that are not known yet. */
export interface TensorFacts {
  readonly sizes: readonly string[];
  readonly strides: readonly string[];
  readonly isFloating: boolean;
}

export const VIEWS = ['aten::view', 'aten::reshape', 'aten::_unsafe_view'];

/** Null for a value that is no tensor. */
export type Described = (value: string) => TensorFacts | null;

/** Names of the values in an argument. */
export function valuesIn(argument: ProgramArgument): string[] {
  if (argument.kind === 'value') return [argument.text];
  return argument.kind === 'list' ? argument.items.flatMap(valuesIn) : [];
}

export function inputsOf({ inputs }: Draft): string[] {
  return inputs.flatMap(([, argument]) => valuesIn(argument));
}

export function outputsOf({ outputs }: Draft): string[] {
  return outputs.flat().filter((name) => name !== null);
}

/** A list of operators that changes nothing in place, with what is needed to find patterns in it. */
export class Drafts {
  private readonly makers = new Map<string, Draft>();
  private readonly read: Set<string>;
  private calls = new Set<string>();

  constructor(
    private readonly all: readonly Draft[],
    private readonly described: Described,
    private readonly returned: readonly string[],
  ) {
    for (const draft of all) for (const value of outputsOf(draft)) this.makers.set(value, draft);
    this.read = new Set([...returned, ...all.flatMap(inputsOf)]);
  }

  sizesOf(value: string): readonly string[] | null {
    return this.described(value)?.sizes ?? null;
  }

  stridesOf(value: string): readonly string[] | null {
    return this.described(value)?.strides ?? null;
  }

  isFloating(value: string): boolean {
    return this.described(value)?.isFloating ?? false;
  }

  /** Whether no output but the first is read. */
  isOnlyFirstRead({ outputs }: Draft): boolean {
    return outputs.slice(1).every((output) => [output].flat().every((name) => name === null || !this.read.has(name)));
  }

  /**
   * The operator that gives a value, if it is one of those named; names as `aten::view`. Of what a module returned,
   * whoever reads it sees no operator: else a tensor within that module would be read in its place, and get its name.
   */
  maker(value: string | null, ...operators: string[]): Draft | null {
    const draft = value === null ? undefined : this.makers.get(value);
    if (draft === undefined || !operators.includes(draft.operator)) return null;
    const call = draft.calls.at(-1)?.call;
    return call === undefined || this.calls.has(call) ? draft : null;
  }

  argument({ inputs }: Draft, name: string): ProgramArgument {
    return inputs.find(([each]) => each === name)?.[1] ?? { kind: 'none' };
  }

  value(draft: Draft, name: string): string | null {
    const argument = this.argument(draft, name);
    return argument.kind === 'value' ? argument.text : null;
  }

  number(draft: Draft, name: string): number | null {
    const argument = this.argument(draft, name);
    return argument.kind === 'int' || argument.kind === 'float' ? argument.number : null;
  }

  /** Whole numbers; null where one of them is not written down. */
  numbers(draft: Draft, name: string): number[] | null {
    const argument = this.argument(draft, name);
    if (argument.kind !== 'list') return null;
    const found = argument.items.flatMap((item) => (item.kind === 'int' ? [item.number] : []));
    return found.length === argument.items.length ? found : null;
  }

  has(draft: Draft, name: string): boolean {
    return this.argument(draft, name).kind !== 'none';
  }

  /** The first output, if it is one tensor. */
  output({ outputs }: Draft): string {
    return outputs[0] as string;
  }

  areSame(a: readonly string[] | null, b: readonly string[] | null): boolean {
    return a !== null && b !== null && a.length === b.length && a.every((length, i) => length === b[i]);
  }

  /** Says in which calls of modules patterns are looked for. */
  lookFrom({ calls }: Draft): void {
    this.calls = new Set(calls.map(({ call }) => call));
  }

  /**
   * What a value is but for copies, and for views and expansions that change nothing. Of nn.Dropout a copy is left,
   * which is what that module returned.
   */
  plain(value: string | null): string | null {
    let found = value;
    for (let draft; (draft = this.maker(found, ...SAME)) !== null;) {
      const before = this.value(draft, draft.operator === 'aten::dropout' ? 'input' : 'self');
      const isCopy = COPIES.includes(draft.operator);
      if (before === null || (!isCopy && !this.areSame(this.sizesOf(before), this.sizesOf(found!)))) break;
      found = before;
    }
    return found;
  }

  /** The matrix or stack of matrices of which a value is the transposed; null where it is none. */
  transposed(value: string | null): string | null {
    const draft = this.maker(this.plain(value), 'aten::permute', 'aten::transpose', 'aten::t');
    if (draft === null) return null;
    const source = this.value(draft, 'self');
    const rank = source === null ? 0 : (this.sizesOf(source)?.length ?? 0);
    if (rank < 2) return null;
    const from = (axis: number): number => (axis < 0 ? axis + rank : axis);
    if (draft.operator === 'aten::t') return rank === 2 ? source : null;
    if (draft.operator === 'aten::transpose') {
      const [a, b] = [this.number(draft, 'dim0'), this.number(draft, 'dim1')];
      if (a === null || b === null) return null;
      return Math.min(from(a), from(b)) === rank - 2 && Math.max(from(a), from(b)) === rank - 1 ? source : null;
    }
    const order = this.numbers(draft, 'dims');
    const wanted = Array.from({ length: rank }, (_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
    return order?.length === rank && order.every((axis, i) => from(axis) === wanted[i]) ? source : null;
  }

  /** Those whose outputs somebody reads. */
  alive(): Draft[] {
    const read = new Set(this.returned);
    const kept: Draft[] = [];
    for (const draft of [...this.all].reverse()) {
      if (draft.outputs.length > 0 && !outputsOf(draft).some((value) => read.has(value))) continue;
      for (const value of inputsOf(draft)) read.add(value);
      kept.push(draft);
    }
    return kept.reverse();
  }
}

/** Of the last one `copy` makes what is left of nn.Dropout. */
const COPIES = ['aten::clone', 'aten::alias', 'aten::dropout'];
const SAME = [...COPIES, ...VIEWS, 'aten::expand'];
