import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';
import { z } from 'zod';

import { describeMethod } from '../../lib/index.js';
import { METHODS, METHOD_NAMES } from '../../lib/methods/index.js';
import { EXPORTS, MEMBERS } from './public-names.js';

/** A property that says only what may not be given, as in a union of alternatives. */
const isExclusion = (type: string): boolean => type === 'undefined';
const OPTIONS = MEMBERS.filter(
  ({ name, type }) => /(Options|Objective|Settings|Limits)\.\w+$/.test(name) && !isExclusion(type),
);
const withRange = OPTIONS.filter(({ type }) =>
  /^(readonly )?(number(\[\])?|\[number, number\])( \| undefined)?$/.test(type),
);
/** What a number counts or is measured in; a share, a factor and the like say that they have no unit. */
const UNIT =
  /\b(pixels?|(milli)?seconds|(mega)?bytes|images?|classes|concepts|threads|planes|blocks?|heads?|tokens?|channels?|layers|targets|cells|masks?|samples|copies|steps|points|windows|requests?|rounds|callers|deviations?|distance|share|factor|weights?|gamma|rates?|epsilon|exponent|seed|numbers|without a unit)\b/i;
const namesOf = (list: readonly { readonly name: string }[]): string[] => list.map(({ name }) => name);

describe('doc comments', () => {
  it('every export has one', () => {
    expect(EXPORTS.length).toBeGreaterThan(150);
    expect(namesOf(EXPORTS.filter(({ comment }) => comment === ''))).toEqual([]);
  });

  it('every member of an exported interface or class has one', () => {
    expect(MEMBERS.length).toBeGreaterThan(300);
    const bare = MEMBERS.filter(({ comment, type }) => comment === '' && !isExclusion(type));
    expect(namesOf(bare)).toEqual([]);
  });

  it('every option that may be left out states its default', () => {
    expect(OPTIONS.length).toBeGreaterThan(80);
    expect(namesOf(OPTIONS.filter(({ comment, isOptional }) => isOptional && !/default/i.test(comment)))).toEqual([]);
  });

  it('every number states its unit, or what it counts', () => {
    expect(namesOf(withRange.filter(({ comment }) => !UNIT.test(comment)))).toEqual([]);
  });

  it('every number states its range', () => {
    expect(withRange.length).toBeGreaterThan(60);
    const range = /\d[\d,.]*( \([^)]*\))? (to \d|or more)|from \d|above \d|\[\d, \d[\])] each|\[\d/;
    expect(namesOf(withRange.filter(({ comment }) => !range.test(comment)))).toEqual([]);
  });
});

/** The bounds that the schemas of the options check, by the option's name. */
function boundsInSchemas(): Map<string, [low: number, high: number | null][]> {
  const bounds = new Map<string, [number, number | null][]>();
  const lib = fileURLToPath(new URL('../../lib/', import.meta.url));
  const files = ['model', 'requests', 'bench', 'archives', 'service'].flatMap((room) =>
    readdirSync(`${lib}${room}`).map((file) => `${lib}${room}/${file}`),
  );
  for (const file of files.filter((name) => name.endsWith('.ts'))) {
    const text = readFileSync(file, 'utf8');
    const valueOf = (bound: string): number => {
      const constant = /^[A-Z_]+$/.test(bound) ? new RegExp(`const ${bound} = ([\\d_]+);`).exec(text)![1]! : bound;
      const [base, power] = constant.replaceAll('_', '').split('**');
      return power === undefined
        ? Number(base)
        : Number(base) ** Number(power.split('-')[0]) - Number(power.split('-')[1] ?? 0);
    };
    const checks = /\b(\w+): z\s*\.(?:int|number)\([^)]*\)\s*\.min\(([\w_]+)[^)]*\)(?:\s*\.max\(([\w_* -]+)[^)]*\))?/g;
    for (const [, name, low, high] of text.matchAll(checks)) {
      bounds.set(name!, [
        ...(bounds.get(name!) ?? []),
        [valueOf(low!), high === undefined ? null : valueOf(high.trim())],
      ]);
    }
  }
  return bounds;
}

it('the ranges are those that are checked', () => {
  const bounds = boundsInSchemas();
  const checked = withRange.flatMap(({ name, comment }) => {
    // A kernel's side is odd, which is checked by a rule of its own.
    const found = name === 'BlurOptions.size' ? undefined : bounds.get(name.split('.').at(-1)!);
    return found === undefined ? [] : [{ name, comment, found }];
  });
  expect(checked.length).toBeGreaterThan(15);
  for (const { name, comment, found } of checked) {
    const allowed = found.map(([low, high]) =>
      high === null
        ? `${low.toLocaleString('en-US')} or more`
        : `${low.toLocaleString('en-US')} to ${high.toLocaleString('en-US')}`,
    );
    expect(
      allowed.some((range) => comment.includes(range)),
      `${name} says "${comment}", and the schema: ${allowed.join('; ')}`,
    ).toBe(true);
  }
});

describe.each(METHOD_NAMES)('%s', (method) => {
  it('has for each number a range in its schema, and a unit in its words', () => {
    for (const [name, option] of Object.entries(describeMethod(method).options.properties)) {
      const kinds = [option as unknown, ...((option['anyOf'] as unknown[] | undefined) ?? [])] as readonly Numeric[];
      const numbers = kinds.filter(({ type }) => type === 'integer' || type === 'number');
      if (numbers.length === 0) continue;
      // A baseline is any value of a pixel.
      const isBounded = ({ minimum, exclusiveMinimum }: Numeric): boolean =>
        (minimum ?? exclusiveMinimum) !== undefined;
      expect(name === 'baseline' || numbers.every(isBounded), `${name}: ${JSON.stringify(option)}`).toBe(true);
      expect(option.description, name).toMatch(UNIT);
    }
  });

  const page = readFileSync(new URL(`../../docs/methods/${method}.md`, import.meta.url), 'utf8');

  it('has its options on its page, with their defaults', () => {
    const schema: z.ZodType = METHODS[method].options;
    const properties = propertiesOf(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Schema);
    for (const [name, property] of Object.entries(properties)) {
      const row = new RegExp(`^\\| [^|]*\`${name}\`[^|]*\\|([^|]*)\\|`, 'm').exec(page);
      expect(row, `docs/methods/${method}.md has no row for the option ${name}`).not.toBeNull();
      const value = property.default;
      if (typeof value === 'number' || typeof value === 'string') {
        expect(row![1], `the default of ${name}`).toContain(String(value));
      }
    }
  });
});

interface Numeric {
  readonly type?: unknown;
  readonly minimum?: number;
  readonly exclusiveMinimum?: number;
}

interface Schema {
  readonly properties?: Record<string, { readonly default?: unknown }>;
  readonly allOf?: readonly Schema[];
  readonly anyOf?: readonly Schema[];
}

function propertiesOf({ properties, allOf = [], anyOf = [] }: Schema): NonNullable<Schema['properties']> {
  return Object.assign({}, ...[...allOf, ...anyOf].map(propertiesOf), properties) as NonNullable<Schema['properties']>;
}
