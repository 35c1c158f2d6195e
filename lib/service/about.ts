import type { NodeInfo } from '../engine/inspection.js';
import { METHOD_NAMES, type MethodName } from '../methods/index.js';
import { preferredMethod } from '../methods/preferred.js';
import type { Model } from '../model/model.js';
import type { ModelInspection } from '../model/inspections.js';
import type { ModelCard } from '../models/card.js';
import { describeMethod, type MethodDescription } from '../requests/describe.js';
import { SightlineError } from '../support/errors.js';
import { json } from './call.js';
import type { Handler } from './exchange.js';

/** What `GET /models` tells of a model, for a page or a form. */
export interface ServedModel {
  readonly name: string;
  readonly description: string;
  /** How pictures reach it. */
  readonly input: ModelCard['input'];
  /** Of each class, in class order. */
  readonly labels: readonly string[];
  /** What its numbers are; null where that is not known. */
  readonly scores: ModelInspection['scores'];
  readonly parameters: number | null;
  readonly license: string | null;
  readonly targetLayer: string;
  readonly tokens: ModelInspection['tokens'];
  readonly attention: readonly { readonly name: string; readonly heads: number; readonly headSize: number }[];
  /** Those that the service offers, and why one does not apply. */
  readonly methods: readonly { readonly name: string; readonly reason: string | null }[];
  /** The method where none is named; null where none of those that are tried applies. */
  readonly preferred: string | null;
}

/** `GET /models`: each model that is loaded, and what can be asked of it. */
export const models: Handler = async ({ models: all, methods: offered, signal }) => {
  const open = all().flatMap(({ name, model }) => (model === null ? [] : [{ name, model }]));
  return json({
    models: await Promise.all(open.map(({ name, model }) => tellOf(name, model, offered, signal))),
    loading: all().flatMap(({ name, model }) => (model === null ? [name] : [])),
  });
};

/** What `GET /models/{model}` tells. */
export interface ModelParts {
  readonly name: string;
  /** In the order of execution; a shape is of one image, the batch axis first. */
  readonly nodes: readonly Pick<NodeInfo, 'name' | 'shape' | 'layout' | 'operator'>[];
}

/** `GET /models/{model}`: the nodes of one model, which `maximize` and methods with layers take by name. */
export const parts: Handler = async ({ model: held, path, signal }) => {
  const { name, model } = held(path['model']);
  const { nodes } = await model.inspect({ signal });
  const told: ModelParts = {
    name,
    nodes: nodes.map(({ name: node, shape, layout, operator }) => ({ name: node, shape, layout, operator })),
  };
  return json(told);
};

/** `GET /methods`: what `describeMethods` gives, of the methods that the service offers. */
export const methods: Handler = ({ methods: offered = METHOD_NAMES }) =>
  json({ methods: offered.map((name) => (described[name] ??= describeMethod(name))) });

/** Schemas of 50 methods take a tenth of a second to write. */
const described: Partial<Record<MethodName, MethodDescription>> = {};

async function tellOf(
  name: string,
  model: Model,
  offered: readonly string[] = METHOD_NAMES,
  signal: AbortSignal,
): Promise<ServedModel> {
  const inspection = await model.inspect({ signal });
  const { description = '', input, license = null } = model.card;
  return {
    name,
    description,
    input,
    labels: model.labels,
    scores: inspection.scores,
    parameters: inspection.parameters,
    license,
    targetLayer: inspection.targetLayer,
    tokens: inspection.tokens,
    attention: inspection.attention.map(({ name: site, heads, headSize }) => ({ name: site, heads, headSize })),
    methods: inspection.methods
      .filter((method) => offered.includes(method.name))
      .map((method) => ({ name: method.name, reason: method.applies ? null : method.reason })),
    preferred: preferred(inspection, name),
  };
}

function preferred(inspection: ModelInspection, name: string): string | null {
  try {
    return preferredMethod(inspection, name);
  } catch (error) {
    if (error instanceof SightlineError && error.code === 'METHOD_NOT_APPLICABLE') return null;
    throw error;
  }
}
