/** JSON Schemas of what the routes take and give, for the OpenAPI document. */
import { z } from 'zod';

import { COLORMAPS } from '../pictures/colormaps.js';
import { topOption } from '../requests/predict.js';
import { attentionSchema } from './attention.js';
import { maximizeSchema } from './maximize.js';
import { DATATYPES } from './tensors.js';

export type JsonSchema = Readonly<Record<string, unknown>>;

const text = { type: 'string' } as const;
const number = { type: 'number' } as const;
const whole = { type: 'integer' } as const;
const list = (items: JsonSchema): JsonSchema => ({ type: 'array', items });
const object = <Properties extends Readonly<Record<string, JsonSchema>>>(
  properties: Properties,
  optional: readonly (keyof Properties & string)[] = [],
) => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
});

export const ENCODING: JsonSchema = { enum: ['list', 'base64'], default: 'list' };
const PARAMETERS: JsonSchema = { type: 'object' };

/** How an overlay is painted, where a picture is asked for. */
export const PAINTING = {
  colormap: { enum: COLORMAPS },
  opacity: { type: 'number', minimum: 0, maximum: 1 },
  legend: { type: 'boolean' },
} as const;

/** Fields of a request, and beside them the options of one of the methods. */
export const withOptions = (
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[],
  methods: readonly string[],
): JsonSchema => ({
  type: 'object',
  properties: { ...properties, encoding: ENCODING },
  required,
  anyOf: methods.map((name) => ({ $ref: `#/components/schemas/${name}` })),
});

export const ALIVE = object({ status: { const: 'alive' } });
export const HEALTH = object({
  state: { enum: ['loading', 'ready', 'overloaded', 'closing'] },
  models: { type: 'object', additionalProperties: { type: 'boolean' } },
  inFlight: whole,
  queued: whole,
});
export const MODEL_READY = object({ name: text, ready: { type: 'boolean' } });

export const B64 = object({ b64: { type: 'string', contentEncoding: 'base64' } });

const { $schema: _, ...TOP } = z.toJSONSchema(topOption) as JsonSchema;
const CLASS_SCORE = { index: whole, label: text, score: number };
const PREDICTION = object(
  { ...CLASS_SCORE, box: whole, place: object({ left: number, top: number, width: number, height: number }) },
  ['box', 'place'],
);
export const PREDICTIONS = list(PREDICTION);
const MAP = object(
  {
    target: object({ ...CLASS_SCORE, against: object(CLASS_SCORE), places: whole, box: whole }, [
      'against',
      'places',
      'box',
    ]),
    layer: { type: ['string', 'null'] },
    shape: list(whole),
    datatype: { const: 'FP32' },
    min: { type: ['number', 'null'] },
    max: { type: ['number', 'null'] },
    state: { enum: ['ok', 'flat', 'nan'] },
    figures: { type: 'object', additionalProperties: number },
    peak: object({ row: whole, column: whole }),
    data: list({ type: ['number', 'null'] }),
    b64: { type: 'string', contentEncoding: 'base64' },
  },
  ['data', 'b64'],
);
const EXPLANATION = {
  method: text,
  options: { type: 'object' },
  predictions: PREDICTIONS,
  maps: list(MAP),
  chunk: { type: ['integer', 'null'] },
};
export const FRIENDLY_ANSWER = object({ model: text, ...EXPLANATION });

const ATTENTION = z.toJSONSchema(attentionSchema, { io: 'input' }) as { properties: Record<string, JsonSchema> };
export const ATTENTION_OPTIONS = ATTENTION.properties;
export const ATTENTION_REQUEST: JsonSchema = {
  ...ATTENTION,
  properties: { image: B64, ...ATTENTION.properties },
  required: ['image'],
};
const count = { type: ['integer', 'null'] };
export const ATTENTION_ANSWER = object(
  {
    model: text,
    of: text,
    rows: text,
    grid: { type: 'object' },
    maps: list(object({ block: whole, head: whole, channel: count })),
    shape: list(whole),
    datatype: { const: 'FP32' },
    data: list(number),
    b64: { type: 'string', contentEncoding: 'base64' },
  },
  ['data', 'b64'],
);

export const MODELS = object({
  models: list(
    object({
      name: text,
      description: text,
      input: { type: 'object' },
      labels: list(text),
      scores: { type: ['string', 'null'] },
      parameters: count,
      license: { type: ['string', 'null'] },
      targetLayer: text,
      tokens: { type: ['object', 'null'] },
      attention: list(object({ name: text, heads: whole, headSize: whole })),
      methods: list(object({ name: text, reason: { type: ['string', 'null'] } })),
      preferred: { type: ['string', 'null'] },
    }),
  ),
  loading: list(text),
});
export const MODEL_PARTS = object({
  name: text,
  nodes: list(object({ name: text, shape: list(whole), layout: text, operator: text })),
});

export const MAXIMIZE_REQUEST = z.toJSONSchema(maximizeSchema, { io: 'input' }) as JsonSchema;
const PICTURE = object({ type: text, b64: { type: 'string', contentEncoding: 'base64' } });
const REACHED = { step: whole, activation: number };
/** A line of the answer: how far it has come, at last the result, or why there is none. */
export const MAXIMIZE_LINE = {
  anyOf: [
    object({ ...REACHED, steps: whole, image: PICTURE }, ['image']),
    object({
      model: text,
      objective: text,
      activation: number,
      activations: list(object(REACHED)),
      options: { type: 'object' },
      shape: list(whole),
      image: PICTURE,
    }),
    { $ref: '#/components/schemas/Error' },
  ],
};

export const METHODS = object({ methods: list({ type: 'object' }) });

export const V1_MODELS = object({ models: list(text) });
export const V1_REQUEST = object(
  {
    instances: {
      type: 'array',
      minItems: 1,
      items: {
        type: ['object', 'array'],
        description: '{"b64": ...} of an image file, or the input of the model as nested lists.',
      },
    },
    parameters: { ...PARAMETERS, description: 'Options; they may also stand beside `instances`.' },
  },
  ['parameters'],
);
export const V1_PREDICT: JsonSchema = { ...V1_REQUEST, properties: { ...V1_REQUEST.properties, top: TOP } };
export const V1_PREDICTIONS = object({ predictions: list(PREDICTIONS) });
export const V1_EXPLANATIONS = object({ predictions: list(PREDICTIONS), explanations: list(object(EXPLANATION)) });

const TENSOR = object(
  {
    name: text,
    shape: list({ ...whole, minimum: 1 }),
    datatype: text,
    data: { type: 'array' },
    parameters: PARAMETERS,
  },
  ['data', 'parameters'],
);
/** Of a request. */
const GIVEN_TENSOR: JsonSchema = {
  ...TENSOR,
  properties: {
    name: { enum: ['input', 'image'] },
    shape: { ...list({ ...whole, minimum: 1 }), minItems: 1, maxItems: 8 },
    datatype: { enum: DATATYPES },
    data: { type: 'array', description: 'Flat or nested, row-major.' },
    parameters: {
      ...PARAMETERS,
      properties: { binary_data_size: { type: 'integer', minimum: 0 } },
    },
  },
};
const DESCRIBED = list(object({ name: text, datatype: text, shape: list(whole) }));
export const V2_SERVER = object({ name: text, version: text, extensions: list(text) });
export const V2_LIVE = object({ live: { type: 'boolean' } });
export const V2_READY = object({ ready: { type: 'boolean' } });
export const V2_METADATA = object({
  name: text,
  versions: list(text),
  platform: text,
  inputs: DESCRIBED,
  outputs: DESCRIBED,
});
export const V2_REQUEST = object(
  {
    id: text,
    parameters: {
      ...PARAMETERS,
      description: 'Options: texts, numbers and truth values, or lists and pairs, also as JSON in a text.',
      properties: { binary_data_output: { type: 'boolean' } },
    },
    inputs: { ...list(GIVEN_TENSOR), minItems: 1, maxItems: 1 },
    outputs: list(
      object({ name: text, parameters: { ...PARAMETERS, properties: { binary_data: { type: 'boolean' } } } }, [
        'parameters',
      ]),
    ),
  },
  ['id', 'parameters', 'outputs'],
);
export const V2_ANSWER = object({ model_name: text, model_version: text, id: text, outputs: list(TENSOR) }, ['id']);
export const V2_INDEX = list(object({ name: text, version: text, state: text, reason: text }));
export const NOTHING: JsonSchema = { type: 'object', additionalProperties: false };
