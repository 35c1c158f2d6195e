import type { z } from 'zod';

import type { Inspection } from '../engine/inspection.js';
import type { SymbolicModel, Value } from '../symbolic/index.js';

/** The input of a method: the model, its own options, and the layer that is explained. */
export interface MethodInput<Options> {
  /** The model on the images, and what can be read of it. */
  readonly model: SymbolicModel;
  /** The method's own options, defaults filled in. */
  readonly options: Options;
  /** The layer asked for, or the automatic target layer. Empty for methods without layers. */
  readonly layer: string;
}

/** A map with what else the method knows of it. */
export interface MapResult {
  /** [batch, height, width]; with `concepts` [batch, concepts, height, width]. */
  readonly map: Value;
  /**
   * Numbers that say how far the map can be trusted, such as integrated gradients' completeness error: [batch] each.
   */
  readonly figures?: Readonly<Record<string, Value>>;
  /** Scores of the classes for each concept: [batch, concepts, classes]. */
  readonly concepts?: Value;
}

/** The map: [batch, height, width]. */
export type MapOf<Options> = (input: MethodInput<Options>) => Value | MapResult;

/**
 * An explanation method: a pure function from symbolic values to a symbolic map. It runs once for each model, input
 * size and set of options; the steps that it records run for every batch.
 */
export interface Method<Schema extends z.ZodType = z.ZodType, UsesLayer extends boolean = boolean> {
  /** Its name in results and errors. */
  readonly name: string;
  /** Its own options with their defaults. */
  readonly options: Schema;
  /** Whether it explains layers, and so takes `layer`. */
  readonly usesLayer: UsesLayer;
  /** Whether its map depends on the class asked for. */
  readonly isClassSpecific: boolean;
  /** Why it cannot explain the model, in words that follow "because"; null when it can. */
  readonly reasonAgainst: (inspection: Inspection) => string | null;
  /** The map: [batch, height, width]. */
  readonly map: MapOf<z.output<Schema>>;
}

/** The packages that an option `compat` names. */
type PackageOf<Options> = Options extends { readonly compat?: infer Package } ? Extract<Package, string> : never;

/** A method, and how packages that differ compute it. */
export interface MethodDefinition<Schema extends z.ZodType, UsesLayer extends boolean> extends Method<
  Schema,
  UsesLayer
> {
  /**
   * The maps of packages by the name that the option `compat` gives; one without an entry differs in its defaults
   * alone.
   */
  readonly compat?: { readonly [Package in PackageOf<z.output<Schema>>]?: MapOf<z.output<Schema>> };
}

/** Makes a method of its parts; for a method of your own, pass the result to `explain` in place of a name. */
export function defineMethod<Schema extends z.ZodType, const UsesLayer extends boolean>(
  definition: MethodDefinition<Schema, UsesLayer>,
): Method<Schema, UsesLayer> {
  const { compat, ...method } = definition;
  if (compat === undefined) return definition;
  const maps = compat as Readonly<Record<string, MapOf<z.output<Schema>> | undefined>>;
  return {
    ...method,
    map: (input) => (maps[(input.options as { compat?: string }).compat ?? ''] ?? method.map)(input),
  };
}
