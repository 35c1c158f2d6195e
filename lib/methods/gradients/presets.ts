import { z } from 'zod';

type Values<Fields extends z.ZodRawShape> = { readonly [Name in keyof Fields]: z.output<Fields[Name]> };
type Given<Fields extends z.ZodRawShape> = { readonly [Name in keyof Fields]?: z.input<Fields[Name]> | undefined };

/** A schema whose output is complete: what was given, else what the peer named by `compat` does, else our own default. */
export type PresetSchema<Fields extends z.ZodRawShape, Peer extends string> = z.ZodType<
  Values<Fields> & { readonly compat: Peer | null },
  Given<Fields> & { readonly compat?: Peer | undefined }
> & { readonly shape: z.ZodRawShape };

/**
 * Options with defaults, and `compat`: another library's defaults in place of ours. What is given by name counts in any
 * case. Explanations report the options as they took effect, so defaults are filled in by the schema, not by the method.
 */
export function withPresets<const Fields extends z.ZodRawShape, const Peer extends string>(
  fields: Fields,
  defaults: NoInfer<Values<Fields>>,
  peers: Readonly<Record<Peer, NoInfer<Partial<Values<Fields>>>>>,
): PresetSchema<Fields, Peer> {
  const names = Object.keys(peers) as [Peer, ...Peer[]];
  const shape: z.ZodRawShape = {
    ...Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, (field as z.ZodType).optional()])),
    compat: z.enum(names, { error: `one of ${names.join(', ')} is expected` }).optional(),
  };
  const schema = z.strictObject(shape).transform((asked) => {
    const { compat, ...rest } = asked as Record<string, unknown> & { compat?: Peer };
    const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
    return { ...defaults, ...(compat === undefined ? {} : peers[compat]), ...given, compat: compat ?? null };
  });
  // A transformed schema has no `shape`, by which refusals list the options that there are.
  return Object.assign(schema, { shape }) as unknown as PresetSchema<Fields, Peer>;
}
