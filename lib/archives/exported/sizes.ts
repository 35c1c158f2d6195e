import { evaluate, namesIn, readable } from './expressions.js';
import type { Fields } from './fields.js';

/** Which images a program of torch.export, or a skeleton, is for. */
export interface ImageSizes {
  /** The example's, or the only one. */
  readonly height: number;
  readonly width: number;
  /** Null where it is any. */
  readonly channels: number | null;
  readonly isChannelsLast: boolean;
  /** How many images at a time; null for any number. */
  readonly batch: number | null;
  /** Null where images of this size may be given, else which ones may: the end of "It is for ...". */
  readonly refusal: (height: number, width: number) => string | null;
  /** How to get a model for others: the end of "Ask for such images, or ...". */
  readonly remedy: string;
}

/** A length of the input: a number, or an expression with the length that the example had. */
interface Length {
  readonly expression: string | null;
  readonly hint: number | null;
}

interface Constraint {
  readonly expression: string;
  readonly min: number;
  readonly max: number;
}

const MOST_CHANNELS_TOLD_BY_SIZE = 4;
const MOST_GUARDS = 10_000;
const LONGEST_EXPRESSION = 4096;

/**
 * Reads what the export holds of its images.
 *
 * @param input the tensor's entry among `tensor_values`
 * @param program the whole of the file, for its ranges and guards
 * @returns null where the input is not four-dimensional
 */
export function readSizes(input: Fields, program: Fields): ImageSizes | null {
  const lengths = input.at('sizes').list().map(readLength);
  if (lengths.length !== 4) return null;
  const isFixed = (axis: number): boolean => lengths[axis]!.expression === null;
  const isFew = (axis: number): boolean => isFixed(axis) && lengths[axis]!.hint! <= MOST_CHANNELS_TOLD_BY_SIZE;
  const isChannelsLast = !isFew(1) && isFew(3);
  const [channelAxis, rowAxis, columnAxis] = isChannelsLast ? [3, 1, 2] : [1, 2, 3];
  const [batch, channels] = [lengths[0]!, lengths[channelAxis]!];
  const [rows, columns] = [lengths[rowAxis]!, lengths[columnAxis]!];
  const ranges = readRanges(program.at('range_constraints'));
  const guards = program.at('guards_code').isMissing
    ? []
    : program
        .at('guards_code')
        .list()
        .slice(0, MOST_GUARDS)
        .map((guard) => guard.text());

  const fits = (height: number, width: number): boolean => {
    const wanted = new Map([
      [rowAxis, height],
      [columnAxis, width],
    ]);
    const symbols = new Map<string, number>();
    for (const [axis, { expression, hint }] of lengths.entries()) {
      const value = wanted.get(axis) ?? hint;
      if (value === null) continue;
      if (expression === null) {
        if (value !== hint) return false;
        continue;
      }
      const solved = solve(expression, value);
      if (solved === null) {
        if (value !== hint) return false;
        continue;
      }
      const known = symbols.get(solved.name);
      if (known !== undefined && known !== solved.value) return false;
      symbols.set(solved.name, solved.value);
    }
    // By its place alone: the name that follows L is the argument's, and there is one.
    const lookup = (name: string): number | undefined => {
      const axis = /\[(\d+)\]$/.exec(name)?.[1];
      return axis === undefined
        ? symbols.get(name)
        : (wanted.get(Number(axis)) ?? lengths[Number(axis)]?.hint ?? undefined);
    };
    const isExample = height === rows.hint && width === columns.hint;
    for (const { expression, min, max } of ranges) {
      const value = evaluate(expression, lookup);
      // Ranges of numbers that come from elsewhere say nothing of the images.
      if (value !== null && (value < min || value > max)) return isExample;
    }
    // What cannot be computed is known to hold for the example alone.
    return guards.every((guard) => evaluate(guard.slice(0, LONGEST_EXPRESSION), lookup) === 1) || isExample;
  };
  const side = ({ expression, hint }: Length): string => (expression === null ? String(hint) : readable(expression));
  return {
    height: rows.hint ?? 224,
    width: columns.hint ?? 224,
    channels: channels.expression === null ? channels.hint : null,
    isChannelsLast,
    batch: batch.expression === null ? batch.hint : null,
    remedy: 'export it with dynamic_shapes for height and width',
    refusal: (height, width) => {
      if (fits(height, width)) return null;
      if (rows.expression === null && columns.expression === null) {
        return `images of ${side(columns)} x ${side(rows)} pixels alone`;
      }
      const limits = ranges
        .filter(({ expression }) => [rows, columns].some((each) => expression === side(each)))
        .map(({ min, max }) => `from ${min} to ${Number.isFinite(max) ? max : 'any number of'} pixels`);
      return `images of other sides (width ${side(columns)}, height ${side(rows)}${[...new Set(limits)].map((each) => `, ${each}`).join('')}${guards.length > 0 ? ', and guards of its own' : ''})`;
    },
  };
}

/** Sizes or strides as text: numbers and expressions. */
export function readLengths(lengths: Fields): string[] {
  return lengths.list().map((length) => {
    const { expression, hint } = readLength(length);
    return expression ?? String(hint);
  });
}

function readLength(fields: Fields): Length {
  const [kind, value] = fields.choice();
  if (kind === 'as_int') return { expression: null, hint: value.count() };
  if (kind !== 'as_expr') throw fields.wrong('no length');
  const hint = value.at('hint');
  const expression = value.at('expr_str').text();
  if (expression.length > LONGEST_EXPRESSION) throw value.wrong('an expression that is too long');
  return { expression, hint: hint.isMissing ? null : hint.choice()[1].count() };
}

function readRanges(fields: Fields): Constraint[] {
  if (fields.isMissing) return [];
  return fields.entries().map(([expression, range]) => {
    const limit = (name: string, none: number): number => {
      const value = range.at(name);
      return value.isMissing ? none : value.int();
    };
    return {
      expression: expression.slice(0, LONGEST_EXPRESSION),
      min: limit('min_val', -Infinity),
      max: limit('max_val', Infinity),
    };
  });
}

/** The value of the one name in an expression that rises by as much with each step: `s0`, `32*s0`, `s0 + 1`. */
function solve(expression: string, value: number): { readonly name: string; readonly value: number } | null {
  const [name, ...others] = namesIn(expression);
  if (name === undefined || others.length > 0) return null;
  const at = (x: number): number | null => evaluate(expression, (asked) => (asked === name ? x : undefined));
  const [zero, one] = [at(0), at(1)];
  if (zero === null || one === null || zero === one) return null;
  const x = (value - zero) / (one - zero);
  return Number.isInteger(x) && at(x) === value ? { name, value: x } : null;
}
