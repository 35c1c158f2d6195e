import { z } from 'zod';

import { ATTENTION_METHODS } from '../methods/attention/index.js';
import { CAM_METHODS } from '../methods/cam/index.js';
import { METHOD_NAMES, type MethodName } from '../methods/index.js';
import type { Method } from '../methods/method.js';
import type { PresetRows } from '../methods/presets.js';
import attention from './documentation/attention.js';
import cam from './documentation/cam.js';
import gradients from './documentation/gradients.js';
import shared from './documentation/shared.js';
import { commonSchema, findMethod, layerSchema } from './explain-options.js';
import { readDefaults, schemaOf, type Descriptions, type OptionsSchema } from './options-schema.js';

/**
 * The description of a method, without a model: enough for a page about it, or for a form of its options. Plain JSON.
 */
export interface MethodDescription {
  /** As `explain` takes it; of a method of your own the name that it has. */
  readonly name: string;
  /** `custom`: made with `defineMethod`. */
  readonly family: 'cam' | 'attention' | 'gradients' | 'custom';
  /** The first sentence of `description`; empty for a method of your own. */
  readonly summary: string;
  /** The computation and its paper. An empty line separates paragraphs. Empty for a method of your own. */
  readonly description: string;
  /** Its page within the package, such as `docs/methods/grad-cam.md`; null for a method of your own. */
  readonly page: string | null;
  /** Whether it explains layers, and so takes `layer`. */
  readonly usesLayer: boolean;
  /** Whether its map depends on the class asked for. */
  readonly isClassSpecific: boolean;
  /** The method's own options. */
  readonly options: OptionsSchema;
  /**
   * The options that it has in common with others, `targets` and `layer` among them. Left out are `signal`, which is
   * no JSON, and `client`, which is the caller's affair.
   */
  readonly commonOptions: OptionsSchema;
  /** The method's own options as they take effect where none is given. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Settings by the name of the option `preset`. */
  readonly presets: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Settings by the name of the option `compat`: where the package's defaults differ. */
  readonly packages: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

const DOCUMENTATION: Readonly<Record<string, { readonly description: string; readonly options: Descriptions }>> = {
  ...cam,
  ...attention,
  ...gradients,
};

/**
 * Every method: its options with types, ranges and defaults, and what they mean. Whether one applies to a model,
 * `inspect` says.
 */
export function describeMethods(): MethodDescription[] {
  return METHOD_NAMES.map(describeMethod);
}

/**
 * The same of one method, by its name or as `defineMethod` made it.
 *
 * @throws SightlineError INVALID_OPTION where there is no such method
 */
export function describeMethod(nameOrMethod: MethodName | Method): MethodDescription {
  const method = findMethod(nameOrMethod);
  const isOwn = typeof nameOrMethod === 'string';
  const { name, usesLayer, isClassSpecific } = method;
  const { description, options } = (isOwn ? DOCUMENTATION[name] : undefined) ?? { description: '', options: {} };
  const { signal: _signal, client: _client, score, ...common } = commonSchema.shape;
  const shown = z.strictObject({ ...common, ...(isClassSpecific && { score }), ...(usesLayer && layerSchema.shape) });
  const { defaults, rows } = method.options as Partial<{ defaults: Record<string, unknown>; rows: PresetRows }>;
  return {
    name,
    family: isOwn ? familyOf(name) : 'custom',
    summary: /^.*?[.](?=\s|$)/s.exec(description)?.[0] ?? description,
    description,
    page: isOwn ? `docs/methods/${name}.md` : null,
    usesLayer,
    isClassSpecific,
    options: schemaOf(method.options, options, defaults),
    commonOptions: schemaOf(shown, { ...shared.common, ...shared.layer }),
    defaults: defaults ?? readDefaults(method.options),
    presets: (rows?.presets ?? {}) as MethodDescription['presets'],
    packages: (rows?.packages ?? {}) as MethodDescription['packages'],
  };
}

function familyOf(name: string): MethodDescription['family'] {
  return Object.hasOwn(CAM_METHODS, name) ? 'cam' : Object.hasOwn(ATTENTION_METHODS, name) ? 'attention' : 'gradients';
}
