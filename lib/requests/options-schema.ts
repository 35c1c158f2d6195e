import { z } from 'zod';

/** A JSON Schema (draft 2020-12) of an object of options: types, ranges, defaults and a description of each. */
export interface OptionsSchema {
  /** Always `object`. */
  readonly type: 'object';
  /** The schema of each option, by its name. None is required. */
  readonly properties: Readonly<Record<string, OptionSchema>>;
  /** Always false: other options are refused. */
  readonly additionalProperties: false;
}

/** The JSON Schema of one option: `type`, `enum`, `minimum`, `maximum` and other keywords beside these. */
export interface OptionSchema {
  /** The meaning of the option, with its range and unit. */
  readonly description?: string;
  /** The value that is taken where the option is left out; absent where none is. */
  readonly default?: unknown;
  readonly [keyword: string]: unknown;
}

/** What each option means, by its name. */
export type Descriptions = Readonly<Record<string, string>>;

/** Defaults that lie outside the schema are written into it. */
export function schemaOf(
  options: z.ZodType,
  descriptions: Descriptions,
  defaults: Readonly<Record<string, unknown>> = {},
): OptionsSchema {
  // What JSON cannot say, such as a function, allows anything there.
  const schema = z.toJSONSchema(options, { io: 'input', unrepresentable: 'any' });
  const properties = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const own = typeof property === 'object' ? property : {};
    const described = {
      ...own,
      ...(Object.hasOwn(descriptions, name) && { description: descriptions[name] }),
      ...(Object.hasOwn(defaults, name) && { default: defaults[name] }),
    };
    return [name, described] as const;
  });
  return { type: 'object', properties: Object.fromEntries(properties), additionalProperties: false };
}

/** What options without any are read as. */
export function readDefaults(options: z.ZodType): Record<string, unknown> {
  const parsed = options.safeParse({});
  return parsed.success ? (parsed.data as Record<string, unknown>) : {};
}
