import { binding } from '../engine/binding.js';
import { onAbort, untilAborted } from '../support/abort.js';
import { asyncDispose } from '../support/dispose.js';
import { SightlineError } from '../support/errors.js';
import { Access } from './access.js';
import { BodyMemory, readBody } from './body.js';
import { isStreamed, json, type Answer, type Call } from './call.js';
import { deadlineOf } from './deadline.js';
import type { Exchange } from './exchange.js';
import { failed, ServiceFailure } from './failure.js';
import { Metrics } from './metrics.js';
import { ServedModels, type GivenModel } from './models.js';
import { openApi } from './openapi.js';
import { findRoutes, type Found, type Route } from './routes.js';
import { checkModel, parseServiceOptions, type ServiceOptions, type Settings } from './settings.js';
import { ShuffledModels } from './shuffled.js';
import { traced } from './tracing.js';
import { packageVersion } from './version.js';
import { webStream } from './web-stream.js';

/** The state of a service. */
export interface ServiceHealth {
  /** `overloaded`: as many requests are in flight as may be. */
  readonly state: 'loading' | 'ready' | 'overloaded' | 'closing';
  /** Each model, and whether it is loaded. */
  readonly models: Readonly<Record<string, boolean>>;
  /** Requests that are read, decoded, wait or run. */
  readonly inFlight: number;
  /** Images that wait for a device, of the whole process. */
  readonly queued: number;
}

/** Models behind HTTP: KServe's protocol V1, the Open Inference Protocol V2, and `POST /explain`. */
export class Service {
  readonly #settings: Settings;
  readonly #models: ServedModels;
  readonly #shuffled = new ShuffledModels();
  readonly #metrics: Metrics;
  readonly #access: Access;
  readonly #bodies: BodyMemory;
  /** What aborts each request in flight. */
  readonly #inFlight = new Set<AbortController>();
  #idle: (() => void) | null = null;
  #isClosing = false;
  #closing: Promise<number> | null = null;

  /** @internal */
  constructor(options: ServiceOptions) {
    this.#settings = parseServiceOptions(options);
    const { models, load = {}, processMetrics, token = [], clientHeader } = this.#settings;
    this.#access = new Access(typeof token === 'string' ? [token] : token, clientHeader);
    this.#bodies = new BodyMemory(this.#settings.limits.maxBytesInFlight);
    this.#models = new ServedModels(models, load);
    this.#metrics = new Metrics(
      { inFlight: () => this.#inFlight.size, models: () => this.#models.open },
      processMetrics,
    );
  }

  /**
   * Answers a request: the handler of every server that speaks web-standard requests. Arrow-bound, so that it can be
   * handed over alone.
   */
  readonly fetch = async (request: Request): Promise<Response> => {
    const url = new URL(request.url);
    const { status, headers, body } = await this.handle({
      method: request.method,
      path: url.pathname,
      query: url.searchParams,
      header: (name) => request.headers.get(name),
      body: request.body ?? emptyBody(),
      address: null,
      signal: request.signal,
    });
    const init = { status, headers };
    if (request.method === 'HEAD') return new Response(null, init);
    return new Response(isStreamed(body) ? webStream(body) : new Uint8Array(Buffer.from(body)), init);
  };

  /** Waits until all models are loaded, and rejects with the first failure. */
  ready(): Promise<void> {
    return this.#models.ready();
  }

  /**
   * Adds a model, or puts it in the place of the one of that name. No request is dropped: until the new one is loaded
   * the one before answers, and it is closed when its last request has ended. Where loading fails, it stays.
   *
   * @param name without a colon, braces or spaces
   * @throws SightlineError INVALID_OPTION, MODEL_CLOSED, and those of `Model.load`
   */
  async load(name: string, model: GivenModel): Promise<void> {
    checkModel(name, model);
    if (this.#isClosing) throw new SightlineError('MODEL_CLOSED', 'The service is closing and takes no more models.');
    return this.#models.put(name, model);
  }

  /**
   * Loads models again, such as after their files were replaced, as `load` does.
   *
   * @param name Default: every model that the service loads itself
   * @throws SightlineError those of `Model.load`
   * @throws Error NOT_FOUND where there is no model of that name
   */
  async reload(name?: string): Promise<void> {
    if (this.#isClosing) throw new SightlineError('MODEL_CLOSED', 'The service is closing and loads no more models.');
    const names = name === undefined ? this.#models.names : [name];
    await Promise.all(names.map((each) => this.#models.reload(each)));
  }

  /**
   * Frees a model once the requests that run on it have ended; others are answered with 503 from then on. `reload`
   * brings it back.
   *
   * @throws Error NOT_FOUND where there is no model of that name
   */
  unload(name: string): Promise<void> {
    return this.#models.unload(name);
  }

  /** The answer of `GET /health`. */
  health(): ServiceHealth {
    const models = Object.fromEntries(this.#models.names.map((name) => [name, this.#models.stateOf(name) === 'ready']));
    const states = this.#models.names.map((name) => this.#models.stateOf(name));
    const isLoading = states.includes('loading') || states.includes('failed');
    const isFull = this.#inFlight.size >= this.#settings.limits.maxRequests;
    return {
      state: this.#isClosing ? 'closing' : isLoading ? 'loading' : isFull ? 'overloaded' : 'ready',
      models,
      inFlight: this.#inFlight.size,
      queued: isLoading && this.#models.open.length === 0 ? 0 : binding().stats().queued,
    };
  }

  /**
   * Says `closing` to whoever asks for its health, waits for the requests in flight, then closes the models that it
   * loaded. Requests that still come in meanwhile are answered too, with `Connection: close`. Calling it again gives
   * the same promise.
   *
   * @param deadline milliseconds after which what is still in flight is aborted and answered with 503. Default: none
   * @param ended what is waited for too, such as the end of a server's connections. Default: nothing
   * @returns how many requests were aborted
   */
  close(deadline?: number, ended?: Promise<unknown>): Promise<number> {
    this.#closing ??= this.#drain(deadline, ended);
    return this.#closing;
  }

  async [asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal Answers a call from any server. Never rejects. */
  async handle(call: Call): Promise<Answer> {
    const started = performance.now();
    const found = findRoutes(call.path);
    const isHead = call.method === 'HEAD';
    const route = found.routes.find(({ method }) => method === (isHead ? 'GET' : call.method)) ?? null;
    let answer: Answer;
    let error: unknown = null;
    try {
      answer = await this.#answer(call, route, found);
    } catch (thrown) {
      error = thrown;
      ({ answer } = failed(error, this.#settings.retryAfter));
    }
    const { status, body } = answer;
    if (isStreamed(body)) void body.ended.then((late) => this.#tell(route, status, late, started));
    else this.#tell(route, status, error, started);
    if (!this.#isClosing) return answer;
    return { ...answer, headers: { ...answer.headers, connection: 'close' } };
  }

  /** Of a request that was answered, to the metrics and the log. @param error null where it was answered as asked */
  #tell(route: Route | null, status: number, error: unknown, started: number): void {
    const failure = error === null ? null : failed(error, this.#settings.retryAfter);
    const code = failure?.code ?? null;
    const seconds = (performance.now() - started) / 1000;
    // A path that nobody serves is no label: there are endlessly many.
    const id = route?.id ?? 'none';
    this.#metrics.answered(id, status, code, seconds);
    const { logger } = this.#settings;
    const fields = { route: id, status, code, seconds };
    if (failure?.status === 500) logger?.error({ ...fields, err: error }, 'request failed');
    else if (route === null || route.runs || code !== null) logger?.info(fields, 'request answered');
  }

  async #answer(call: Call, route: Route | null, { routes, parameters }: Found): Promise<Answer> {
    if (route === null) {
      if (routes.length === 0) throw new ServiceFailure('NOT_FOUND', 'There is nothing at this path.');
      const allow = routes.map(({ method }) => (method === 'GET' ? 'GET, HEAD' : method)).join(', ');
      throw new ServiceFailure('METHOD_NOT_ALLOWED', `This path takes ${allow}.`, { allow });
    }
    if (!route.isOpen) this.#access.check(call);
    if (!route.runs) return this.#answerAtOnce(call, route, parameters);
    const { maxRequests } = this.#settings.limits;
    // Before a byte of the body is read.
    if (this.#inFlight.size >= maxRequests) {
      throw new ServiceFailure('OVERLOADED', `${maxRequests} requests are in flight already; try again later.`);
    }
    return this.#run(call, route, parameters);
  }

  async #run(call: Call, route: Route, path: Found['parameters']): Promise<Answer> {
    const deadline = deadlineOf(call, this.#settings.deadline);
    const controller = new AbortController();
    const gone = (): void => controller.abort(new ServiceFailure('CLIENT_GONE', 'The client has gone.'));
    const stop = onAbort(call.signal, gone);
    if (call.signal.aborted) gone();
    const timer = setTimeout(
      () =>
        controller.abort(
          new ServiceFailure('DEADLINE_EXCEEDED', `The request took longer than the ${deadline} ms that it had.`),
        ),
      deadline,
    );
    this.#inFlight.add(controller);
    const releases: (() => void)[] = [];
    // The place is free once the work has really ended, which may be after the client was answered.
    const end = (): void => {
      for (const release of releases) release();
      clearTimeout(timer);
      stop();
      this.#inFlight.delete(controller);
      if (this.#inFlight.size === 0) this.#idle?.();
    };
    const work = traced(this.#settings.tracer, route.id, async () =>
      route.handler!(this.#exchange(call, controller.signal, path, releases)),
    );
    void work.then(({ body }) => (isStreamed(body) ? void body.ended.then(end) : end()), end);
    return untilAborted(work, controller.signal);
  }

  async #answerAtOnce(call: Call, route: Route, path: Found['parameters']): Promise<Answer> {
    if (route.handler !== null) {
      const releases: (() => void)[] = [];
      try {
        return await route.handler(this.#exchange(call, call.signal, path, releases));
      } finally {
        for (const release of releases) release();
      }
    }
    switch (route.id) {
      case 'health':
        return json(this.health(), this.health().state === 'ready' ? 200 : 503);
      case 'v2Ready': {
        const { state } = this.health();
        return json({ ready: state === 'ready' }, state === 'ready' ? 200 : 503);
      }
      case 'metrics':
        return {
          status: 200,
          headers: { 'content-type': this.#metrics.contentType },
          body: await this.#metrics.text(),
        };
      case 'v1Models':
        return json({ models: this.#models.names });
      case 'v2Server':
        return json({
          name: 'sightline',
          version: packageVersion(),
          extensions: ['binary_tensor_data', ...(this.#settings.repository ? ['model_repository'] : [])],
        });
      case 'openapi':
        return json(openApi(packageVersion(), this.#settings, this.#models.names));
      case 'v2RepositoryIndex':
      case 'v2RepositoryLoad':
      case 'v2RepositoryUnload':
        return this.#repository(route.id, path['model']);
      default:
        throw new SightlineError('INTERNAL', `The route ${route.id} has no answer.`);
    }
  }

  /** The model repository extension of the Open Inference Protocol. */
  async #repository(id: string, name: string | undefined): Promise<Answer> {
    if (!this.#settings.repository) throw new ServiceFailure('NOT_FOUND', 'There is nothing at this path.');
    if (id === 'v2RepositoryIndex') return json(this.#models.index());
    await (id === 'v2RepositoryLoad' ? this.reload(name) : this.unload(name!));
    return json({});
  }

  #exchange(call: Call, signal: AbortSignal, path: Found['parameters'], releases: (() => void)[]): Exchange {
    const { limits, methods, page, shuffled, tracer } = this.#settings;
    return {
      call,
      signal,
      client: this.#access.clientOf(call),
      path,
      limits,
      methods,
      model: (name = this.#models.names[0]!) => {
        const { model, release } = this.#models.hold(name);
        releases.push(release);
        return { name, model };
      },
      shuffled: async (model) => {
        if (!shuffled) throw new ServiceFailure('INVALID_REQUEST', 'This service keeps no models of shuffled weights.');
        const { copy, release } = await this.#shuffled.hold(model, signal);
        releases.push(release);
        return copy;
      },
      models: () => this.#models.all(),
      hasPage: page,
      read: () => readBody(call, { limit: limits.maxBodyBytes, memory: this.#bodies, releases, signal }),
      stage: async (stage, model, work) => {
        const started = performance.now();
        try {
          return await traced(tracer, stage, work, { 'sightline.model': model });
        } finally {
          this.#metrics.observe(stage, model, (performance.now() - started) / 1000);
        }
      },
    };
  }

  async #drain(deadline: number | undefined, ended: Promise<unknown> | undefined): Promise<number> {
    this.#isClosing = true;
    let aborted = 0;
    const timer =
      deadline === undefined
        ? undefined
        : setTimeout(() => {
            aborted = this.#inFlight.size;
            for (const controller of this.#inFlight) {
              controller.abort(new ServiceFailure('CLOSING', 'The service is being shut down; try another one.'));
            }
          }, deadline);
    await ended;
    while (this.#inFlight.size > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    clearTimeout(timer);
    await Promise.all([this.#shuffled.close(), this.#models.close()]);
    return aborted;
  }
}

/**
 * Makes a service. Models that are given by name or path begin to load at once; until then requests for them are
 * answered with 503.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function createService(options: ServiceOptions): Service {
  return new Service(options);
}

async function* emptyBody(): AsyncGenerator<Uint8Array> {}
