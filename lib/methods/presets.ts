import { z } from 'zod';

import { compatWith, type Peer } from './compat/peers.js';

type Values<Fields extends z.ZodRawShape> = { -readonly [Name in keyof Fields]: z.output<Fields[Name]> };
type Given<Fields extends z.ZodRawShape> = { readonly [Name in keyof Fields]?: z.input<Fields[Name]> | undefined };
type PresetChoice<Row extends string> = [Row] extends [never]
  ? unknown
  : {
      /** A published choice of the other options. An option that is given by name wins over it. Default: none. */
      preset?: Row | undefined;
    };
type CompatChoice<Row extends string> = [Row] extends [never]
  ? unknown
  : {
      /** The package whose numbers the map reproduces. Default: none, the definition of the paper. */
      compat?: Row | undefined;
    };
type Flat<Type> = { [Name in keyof Type]: Type[Name] };

/** Settings by the name of the preset or of the package. */
export interface PresetRows {
  readonly presets: Readonly<Record<string, object>>;
  readonly packages: Readonly<Record<string, object>>;
}

/** Options whose output is complete. `shape`, `defaults` and the rows are there for whoever lists them. */
export type PresetSchema<Fields extends z.ZodRawShape, Preset extends string, Package extends string> = z.ZodType<
  Flat<Values<Fields> & PresetChoice<Preset> & CompatChoice<Package>>,
  Flat<Given<Fields> & Readonly<PresetChoice<Preset>> & Readonly<CompatChoice<Package>>>
> & { readonly shape: z.ZodRawShape; readonly defaults: Values<Fields>; readonly rows: PresetRows };

/**
 * Options with defaults, and rows of settings that can be chosen by name: `preset`, a published choice, and `compat`, a
 * package whose defaults differ. What is given by name wins over the preset, the preset over the package, the package
 * over the defaults.
 *
 * Explanations report the options as they took effect, so the schema fills them in. zod's own `default` would not do:
 * it hides whether an option was given.
 */
export function withPresets<
  const Fields extends z.ZodRawShape,
  const Preset extends string = never,
  const Package extends Peer = never,
>(
  fields: Fields,
  defaults: NoInfer<Values<Fields>>,
  rows: {
    readonly presets?: Readonly<Record<Preset, NoInfer<Partial<Values<Fields>>>>>;
    readonly packages?: Readonly<Record<Package, NoInfer<Partial<Values<Fields>>>>>;
  } = {},
): PresetSchema<Fields, Preset, Package> {
  const presets: Readonly<Record<string, object>> = rows.presets ?? {};
  const packages: Readonly<Record<string, object>> = rows.packages ?? {};
  const [known, peers] = [Object.keys(presets), Object.keys(packages) as Peer[]];
  const shape: z.ZodRawShape = {
    ...(known.length > 0 && {
      preset: z
        .enum(known, {
          error: (issue) => `there is no preset ${JSON.stringify(issue.input)}; give ${known.join(', ')}`,
        })
        .optional(),
    }),
    ...Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, (field as z.ZodType).optional()])),
    ...(peers.length > 0 && { compat: compatWith(...(peers as [Peer, ...Peer[]])) }),
  };
  const schema = z.strictObject(shape).transform((asked) => {
    const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined)) as {
      preset?: string;
      compat?: string;
    };
    const { preset, compat } = given;
    return {
      ...defaults,
      ...(compat === undefined ? {} : packages[compat]),
      ...(preset === undefined ? {} : presets[preset]),
      ...given,
    };
  });
  // A transformed schema has no `shape`, by which refusals list the options that there are.
  return Object.assign(schema, {
    shape,
    defaults,
    rows: { presets, packages } satisfies PresetRows,
  }) as unknown as PresetSchema<Fields, Preset, Package>;
}
