import { z } from 'zod';

import { METHOD_NAMES, type MethodName } from '../methods/index.js';
import type { LoadOptions } from '../model/load.js';
import { Model } from '../model/model.js';
import type { GivenModel } from './models.js';
import { SightlineError } from '../support/errors.js';
import { parseOptions } from '../support/options.js';

/** The limits of one request. More is refused before an image is decoded. */
export interface ServiceLimits {
  /** Most bytes of a request's body: 1 or more. Default 33,554,432 (32 MiB). */
  readonly maxBodyBytes?: number | undefined;
  /** Most bytes of the bodies of all requests in flight: 1 or more. Default 536,870,912 (512 MiB). */
  readonly maxBytesInFlight?: number | undefined;
  /** Most pixels of an image: 1 or more. Default 50,000,000. */
  readonly maxPixels?: number | undefined;
  /** Most images of one request: 1 to 4,096. Default 32. */
  readonly maxImages?: number | undefined;
  /** Most targets of one image, and most concepts of `deep-feature-factorization`: 1 to 4,096. Default 16. */
  readonly maxTargets?: number | undefined;
  /** Most layers of one request: 1 to 1,000. Default 8. */
  readonly maxLayers?: number | undefined;
  /** Most samples, steps, masks or windows of one map: 1 to 1,000,000. Default 4,096. */
  readonly maxSamples?: number | undefined;
  /** Most bytes that a request may give to one chunk of a sampling method (`memory`): 1 or more. Default 1 GiB. */
  readonly maxMemory?: number | undefined;
  /** Most numbers of the maps of one answer: 1 to 1,000,000,000. Default 4,194,304. */
  readonly maxValues?: number | undefined;
  /** Most requests that are read, decoded, wait or run at once: 1 to 100,000. Default 128. */
  readonly maxRequests?: number | undefined;
}

/** Where a service tells of its requests; a logger of pino is one. */
export interface ServiceLogger {
  /** A request that was answered, or refused for a reason of its own. */
  info(fields: object, message: string): void;
  /** A fault of the service, with the error as `err`. */
  error(fields: object, message: string): void;
}

/** The part of OpenTelemetry's `Tracer` that a service uses. */
export interface ServiceTracer {
  /** Runs `work` within a new span. */
  startActiveSpan(
    name: string,
    options: { readonly attributes?: Readonly<Record<string, string>> },
    work: (span: ServiceSpan) => Promise<unknown>,
  ): unknown;
}

/** The part of OpenTelemetry's `Span` that a service uses. */
export interface ServiceSpan {
  /** Adds an error to the span. */
  recordException(error: Error): void;
  /** Says whether the work failed, by OpenTelemetry's codes. */
  setStatus(status: { readonly code: number }): unknown;
  /** Ends the span. */
  end(): void;
}

/** How a service is made: `createService`. */
export interface ServiceOptions {
  /**
   * By the name that requests give: an open model, the promise of one, or the name or path of a model that the service
   * loads. It closes the models that it loads; open models stay the caller's.
   */
  readonly models: Readonly<Record<string, GivenModel>>;
  /** How models that are given by name or path are loaded. Default: as `Model.load` does. */
  readonly load?: LoadOptions | undefined;
  /** The methods that requests may name. Default: all. */
  readonly methods?: readonly MethodName[] | undefined;
  /** The limits of one request. Default: as `ServiceLimits` says. */
  readonly limits?: ServiceLimits | undefined;
  /**
   * Milliseconds after which a request is aborted and answered with 504: 1 to 86,400,000. A request may ask for less by
   * its header `x-deadline-ms`. Default 30,000.
   */
  readonly deadline?: number | undefined;
  /** Seconds after which a client that was refused with 503 may come back: 1 to 3,600. Default 1. */
  readonly retryAfter?: number | undefined;
  /**
   * The token that `Authorization: Bearer` must give, but for health; several while one is replaced. Default: nobody is
   * asked.
   */
  readonly token?: string | readonly string[] | undefined;
  /**
   * The header whose value says whose a request is, such as `x-forwarded-for` of a proxy that you trust. Requests of
   * different clients take turns. Default: the token, or else the address of the connection.
   */
  readonly clientHeader?: string | undefined;
  /** Whether `/metrics` also tells of the process: its memory, garbage collection and event loop. Default false. */
  readonly processMetrics?: boolean | undefined;
  /**
   * Whether requests may list, load and unload models at `/v2/repository`, as Triton's clients do: those of this
   * service, from where they came. Whoever has the token may then take a model away. Default false.
   */
  readonly repository?: boolean | undefined;
  /**
   * A tracer of OpenTelemetry, such as `trace.getTracer('sightline')`: a span for each request that runs a model, and
   * one for each of its stages below it. Default: none.
   */
  readonly tracer?: ServiceTracer | undefined;
  /**
   * Whether requests may ask for maps of a copy of a model whose weights are shuffled: a sanity check. At most two
   * copies are kept, each as large as its model, for a minute after their last request. Default true.
   */
  readonly shuffled?: boolean | undefined;
  /** Whether a browser that opens `/` gets the page. Default true. */
  readonly page?: boolean | undefined;
  /** Receives a line for each request. Default: none. */
  readonly logger?: ServiceLogger | undefined;
}

const limitsSchema = z.strictObject({
  maxBodyBytes: z.int().min(1).default(33_554_432),
  maxBytesInFlight: z.int().min(1).default(536_870_912),
  maxPixels: z.int().min(1).default(50_000_000),
  maxImages: z.int().min(1).max(4096).default(32),
  maxTargets: z.int().min(1).max(4096).default(16),
  maxLayers: z.int().min(1).max(1000).default(8),
  maxSamples: z.int().min(1).max(1_000_000).default(4096),
  maxMemory: z
    .int()
    .min(1)
    .default(2 ** 30),
  maxValues: z.int().min(1).max(1_000_000_000).default(4_194_304),
  maxRequests: z.int().min(1).max(100_000).default(128),
});

/** What a name in a path can hold without being taken for a verb or another segment. */
const NAME = /^[^:{}\s]+$/;
const name = z.string().regex(NAME, 'a name without a colon, braces or spaces is expected');
const isModel = (value: unknown): boolean => value instanceof Model || value instanceof Promise;
const given = z.union([z.string().min(1), z.custom<Model | Promise<Model>>(isModel)]);
const hasMethod = (value: unknown, name: string): boolean =>
  typeof value === 'object' && value !== null && typeof (value as Record<string, unknown>)[name] === 'function';
const token = z.string().min(16, 'at least 16 characters are expected');

const schema = z.strictObject({
  models: z.record(name, given).refine((models) => Object.keys(models).length > 0, 'at least one model is expected'),
  load: z.looseObject({}).optional(),
  methods: z.array(z.enum(METHOD_NAMES)).min(1).optional(),
  limits: limitsSchema.prefault({}),
  deadline: z.number().min(1).max(86_400_000).default(30_000),
  retryAfter: z.int().min(1).max(3600).default(1),
  token: z.union([token, z.array(token).min(1)]).optional(),
  clientHeader: z
    .string()
    .regex(/^[!#$%&'*+.^_`|~\w-]+$/, 'the name of a header is expected')
    .optional(),
  processMetrics: z.boolean().default(false),
  repository: z.boolean().default(false),
  tracer: z.custom<ServiceTracer>((value) => hasMethod(value, 'startActiveSpan'), 'a tracer is expected').optional(),
  shuffled: z.boolean().default(true),
  page: z.boolean().default(true),
  logger: z.custom<ServiceLogger>((value) => typeof value === 'object' && value !== null).optional(),
});

const named = z.strictObject({ name, model: given });

/** @throws SightlineError INVALID_OPTION */
export function checkModel(name: string, model: GivenModel): void {
  parseOptions(named, { name, model }, 'load');
}

export type Limits = z.output<typeof limitsSchema>;

export type Settings = z.output<typeof schema>;

/** @throws SightlineError INVALID_OPTION */
export function parseServiceOptions(options: ServiceOptions): Settings {
  if (typeof options === 'object' && options !== null && Array.isArray(options.models)) {
    throw new SightlineError('INVALID_OPTION', 'The models of a service are given by name, such as { vit: "vit.pt" }.');
  }
  return parseOptions(schema, options, 'createService');
}
