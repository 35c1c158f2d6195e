import { METHOD_NAMES, type MethodName } from '../methods/index.js';
import { describeMethod } from '../requests/describe.js';
import { ERROR_CODES } from '../support/errors.js';
import { SERVICE_CODES } from './failure.js';
import { FORMATS } from './friendly.js';
import { MAXIMIZE_FORMATS } from './maximize.js';
import { PAGE_TYPES } from './page.js';
import { ROUTES, type Route } from './routes.js';
import * as schemas from './schemas.js';
import type { JsonSchema } from './schemas.js';
import type { Settings } from './settings.js';
import { VERSION } from './v2.js';

/** What the document says of a route beside its path. */
interface Operation {
  readonly summary: string;
  /** By media type. */
  readonly body?: Readonly<Record<string, JsonSchema>>;
  readonly query?: Readonly<Record<string, JsonSchema>>;
  /** Of status 200, by media type. */
  readonly answer: Readonly<Record<string, JsonSchema>>;
  /** Other statuses than those that every route of its kind has, with what they carry. */
  readonly others?: Readonly<Record<string, JsonSchema>>;
}

const asJson = (schema: JsonSchema): Readonly<Record<string, JsonSchema>> => ({ 'application/json': schema });
const TENSORS: JsonSchema = { type: 'string', description: 'JSON, then tensors (binary tensor extension).' };

const withBinary = (schema: JsonSchema): Readonly<Record<string, JsonSchema>> => ({
  'application/json': schema,
  'application/octet-stream': TENSORS,
});

const V2_MODEL: Operation = { summary: 'Inputs and outputs of a model.', answer: asJson(schemas.V2_METADATA) };
const V2_INFER: Operation = {
  summary: 'Classifies: `input` of FP32, or `image` of BYTES (files) or UINT8 (pixels).',
  body: withBinary(schemas.V2_REQUEST),
  answer: withBinary(schemas.V2_ANSWER),
};
const V2_EXPLAIN: Operation = {
  ...V2_INFER,
  summary: 'Explains, as `infer`; method and options are `parameters`, and the maps the output `explain`.',
};
const READY: Operation = { summary: 'Whether the model is loaded.', answer: asJson(schemas.MODEL_READY) };

const PICTURE = {
  'image/*': { type: 'string', format: 'binary', description: 'An image file as it is; options stand in the query.' },
  'application/octet-stream': { type: 'string', format: 'binary', description: 'The same.' },
  'multipart/form-data': {
    type: 'object',
    required: ['image'],
    properties: { image: { type: 'string', format: 'binary' } },
  },
} as const;

const WEIGHTS: JsonSchema = {
  enum: ['trained', 'shuffled'],
  default: 'trained',
  description: 'shuffled: of a copy of the model that has learned nothing.',
};

const operationsOf = (methods: readonly MethodName[]): Readonly<Record<string, Operation>> => ({
  alive: {
    summary: 'Whether the server runs; the page, for a browser.',
    answer: { ...asJson(schemas.ALIVE), 'text/html': { type: 'string' } },
  },
  page: {
    summary: 'A file of the page.',
    answer: Object.fromEntries(
      Object.values(PAGE_TYPES).map((type) => [type.split(';')[0]!, { type: 'string', format: 'binary' }]),
    ),
  },
  models: { summary: 'Models, and what can be asked of each.', answer: asJson(schemas.MODELS) },
  methods: { summary: 'Methods with their options.', answer: asJson(schemas.METHODS) },
  attention: {
    summary: 'Attention of one picture by block and head; queries, keys and values by channel.',
    body: { ...PICTURE, 'application/json': schemas.ATTENTION_REQUEST },
    query: schemas.ATTENTION_OPTIONS,
    answer: asJson(schemas.ATTENTION_ANSWER),
  },
  model: { summary: 'The nodes of a model, with their shapes.', answer: asJson(schemas.MODEL_PARTS) },
  maximize: {
    summary: 'Makes the image that excites a part of a model most; by lines as it goes on, or the image alone.',
    body: asJson(schemas.MAXIMIZE_REQUEST),
    answer: Object.fromEntries(
      MAXIMIZE_FORMATS.map((format, i) => [
        format,
        i === 0 ? schemas.MAXIMIZE_LINE : { type: 'string', format: 'binary' },
      ]),
    ),
  },
  health: {
    summary: 'State of the service; 503 unless it is ready.',
    answer: asJson(schemas.HEALTH),
    others: { 503: schemas.HEALTH },
  },
  metrics: { summary: 'Figures for Prometheus.', answer: { 'text/plain': { type: 'string' } } },
  openapi: { summary: 'This document.', answer: asJson({ type: 'object' }) },
  explain: {
    summary: 'Explains one picture; the answer is what `Accept` asks for.',
    body: {
      ...PICTURE,
      'application/json': schemas.withOptions(
        { image: schemas.B64, model: { type: 'string' }, ...schemas.PAINTING, weights: WEIGHTS },
        ['image'],
        methods,
      ),
    },
    query: {
      model: { type: 'string' },
      weights: WEIGHTS,
      method: { $ref: '#/components/schemas/MethodName' },
      target: { type: 'array', items: { type: 'string' } },
      layer: { type: 'array', items: { type: 'string' } },
      encoding: schemas.ENCODING,
      ...schemas.PAINTING,
    },
    answer: {
      'application/json': schemas.FRIENDLY_ANSWER,
      ...Object.fromEntries(FORMATS.slice(1).map((format) => [format, { type: 'string', format: 'binary' }])),
    },
  },
  v1Models: { summary: 'Names of the models.', answer: asJson(schemas.V1_MODELS) },
  v1Model: READY,
  v1Predict: {
    summary: 'Classifies instances.',
    body: asJson(schemas.V1_PREDICT),
    answer: asJson(schemas.V1_PREDICTIONS),
  },
  v1Explain: {
    summary: 'Explains instances; method and options stand beside them.',
    body: asJson(schemas.withOptions(schemas.V1_REQUEST.properties, ['instances'], methods)),
    answer: asJson(schemas.V1_EXPLANATIONS),
  },
  v2Server: { summary: 'Name, version and extensions.', answer: asJson(schemas.V2_SERVER) },
  v2Live: { summary: 'Whether the server runs.', answer: asJson(schemas.V2_LIVE) },
  v2Ready: {
    summary: 'Whether all models are loaded and requests are taken.',
    answer: asJson(schemas.V2_READY),
    others: { 503: schemas.V2_READY },
  },
  v2RepositoryIndex: { summary: 'Models and their states.', answer: asJson(schemas.V2_INDEX) },
  v2RepositoryLoad: { summary: 'Loads a model again, from where it came.', answer: asJson(schemas.NOTHING) },
  v2RepositoryUnload: { summary: 'Frees a model once its requests have ended.', answer: asJson(schemas.NOTHING) },
  ...Object.fromEntries(
    ['', 'Version'].flatMap((suffix) => [
      [`v2Model${suffix}`, V2_MODEL],
      [`v2ModelReady${suffix}`, READY],
      [`v2Infer${suffix}`, V2_INFER],
      [`v2Explain${suffix}`, V2_EXPLAIN],
    ]),
  ),
});

/** The OpenAPI document of a service, whose options are those that the library checks. */
export function openApi(
  version: string,
  { methods = METHOD_NAMES, repository }: Pick<Settings, 'methods' | 'repository'>,
  models: readonly string[],
): Record<string, unknown> {
  const operations = operationsOf(methods);
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of ROUTES) {
    if (route.id.startsWith('v2Repository') && !repository) continue;
    (paths[route.path] ??= {})[route.method.toLowerCase()] = operationOf(route, operations[route.id]!, models);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'sightline', version, description: 'Explains what vision models see.' },
    paths,
    components: {
      schemas: {
        Error: errorSchema(),
        MethodName: { enum: methods },
        ...Object.fromEntries(methods.map((name) => [name, methodSchema(name)])),
      },
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
    },
  };
}

function methodSchema(name: MethodName): JsonSchema {
  const { description, options, commonOptions } = describeMethod(name);
  const score = commonOptions.properties['score'] as JsonSchema | undefined;
  return {
    type: 'object',
    description,
    properties: {
      method: { const: name },
      ...commonOptions.properties,
      // No request can hold a function.
      ...(score !== undefined && { score: { enum: ['logit', 'probability'], description: score['description'] } }),
      ...options.properties,
    },
  };
}

function errorSchema(): JsonSchema {
  return {
    type: 'object',
    required: ['error', 'code'],
    properties: {
      error: { type: 'string', description: 'A sentence for people.' },
      code: { enum: [...Object.keys(ERROR_CODES), ...Object.keys(SERVICE_CODES)] },
    },
  };
}

const contentOf = (byType: Readonly<Record<string, JsonSchema>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(byType).map(([type, schema]) => [type, { schema }]));

const TEXT: JsonSchema = { type: 'string' };
/** Of each parameter of a path. */
const IN_PATH: Readonly<Record<string, (models: readonly string[]) => JsonSchema>> = {
  model: (models) => ({ enum: models }),
  version: () => ({ enum: [VERSION] }),
  file: () => TEXT,
};
const DEADLINE = {
  name: 'x-deadline-ms',
  in: 'header',
  description: 'Milliseconds after which the request is answered with 504.',
  schema: { type: 'integer', minimum: 1, maximum: 999_999_999 },
};
const ERROR: JsonSchema = { $ref: '#/components/schemas/Error' };

function operationOf(
  { id, path, runs, isOpen }: Route,
  operation: Operation,
  models: readonly string[],
): Record<string, unknown> {
  const { summary, body, query = {}, answer, others = {} } = operation;
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  const statuses = [
    ...(isOpen ? [] : [401]),
    ...(inPath.length > 0 || runs ? [404, 503] : []),
    ...(runs ? [400, 413, 415, 422, 500, 504] : []),
    ...(id === 'explain' || id === 'maximize' ? [406] : []),
  ];
  return {
    operationId: id,
    summary,
    security: isOpen ? [] : [{}, { bearer: [] }],
    parameters: [
      ...inPath.map((name) => ({ name, in: 'path', required: true, schema: IN_PATH[name]?.(models) ?? TEXT })),
      ...Object.entries(query).map(([name, schema]) => ({ name, in: 'query', schema })),
      ...(runs ? [DEADLINE] : []),
    ],
    ...(body && { requestBody: { required: true, content: contentOf(body) } }),
    responses: {
      200: { description: 'Done.', content: contentOf(answer) },
      ...Object.fromEntries(
        statuses.map((status) => [status, { description: 'Refused.', content: contentOf(asJson(ERROR)) }]),
      ),
      ...Object.fromEntries(
        Object.entries(others).map(([status, schema]) => [
          status,
          { description: 'Not ready.', content: contentOf(asJson(schema)) },
        ]),
      ),
    },
  };
}
