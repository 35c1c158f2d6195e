import { setTimeout as sleep } from 'node:timers/promises';

import {
  EnvHttpProxyAgent,
  fetch as undiciFetch,
  Headers,
  type Dispatcher,
  type RequestInit,
  type Response,
} from 'undici';

import { SightlineError } from '../support/errors.js';
import type { HubEnvironment } from './environment.js';

/** How long and how often a hub in trouble is asked again. */
export interface RetryPolicy {
  /** Requests in all, for one that fails for a reason that may pass. */
  readonly attempts: number;
  /** Pause after the first failure; it doubles with each. */
  readonly backoffMs: number;
  /** The longest that a `Retry-After` is followed. */
  readonly longestWaitMs: number;
}

export const RETRY_POLICY: RetryPolicy = { attempts: 4, backoffMs: 500, longestWaitMs: 90_000 };

const CONNECT_MS = 15_000;
/** A connection that sends nothing for this long is given up. */
const STALL_MS = 60_000;
const MAX_REDIRECTS = 10;

/** An answer, and what the hub itself said of the file before it sent us elsewhere. */
export interface HubAnswer {
  readonly response: Response;
  /** Headers of the first answer: the hub's, where `response` may be a content network's. */
  readonly hubHeaders: Response['headers'];
}

/** Requests to a hub: with the token (to the hub alone), through the proxies, again where that may help. */
export class HubConnection {
  readonly #agent: Dispatcher;
  readonly #origin: string;

  constructor(
    readonly environment: HubEnvironment,
    readonly retries: RetryPolicy = RETRY_POLICY,
    /** Called before each pause, in words and milliseconds. */
    readonly onPause: (reason: string, milliseconds: number) => void = () => undefined,
  ) {
    const { http, https, none } = environment.proxies;
    this.#origin = new URL(environment.endpoint).origin;
    try {
      this.#agent = new EnvHttpProxyAgent({
        ...(http !== undefined && { httpProxy: http }),
        ...(https !== undefined && { httpsProxy: https }),
        noProxy: none ?? '',
        connect: { timeout: CONNECT_MS },
        headersTimeout: STALL_MS,
        bodyTimeout: STALL_MS,
      });
    } catch (cause) {
      throw new SightlineError(
        'INVALID_OPTION',
        `HTTPS_PROXY or HTTP_PROXY is no address; set it to one such as http://proxy:3128, or unset it.`,
        { cause },
      );
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  /** What to call the hub in a message. */
  get name(): string {
    return this.environment.endpoint;
  }

  /**
   * An answer of any status but those that mean "later": these are asked again, as is a connection that fails.
   *
   * @throws SightlineError HUB_UNREACHABLE, HUB_REFUSED (429 for longer than we wait), ABORTED
   */
  async request(url: string, init: RequestInit = {}, signal?: AbortSignal): Promise<HubAnswer> {
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt >= this.retries.attempts;
      let pause = this.retries.backoffMs * 2 ** (attempt - 1);
      let reason: string;
      try {
        const answer = await this.#follow(url, init, signal);
        const { status, headers } = answer.response;
        if (status !== 429 && status < 500) return answer;
        await answer.response.body?.cancel().catch(() => undefined);
        reason = `it answered ${status}`;
        const asked = status === 429 || status === 503 ? askedPause(headers) : null;
        pause = asked ?? pause;
        if (status === 429 && (isLast || pause > this.retries.longestWaitMs)) {
          throw tooMany(this.name, asked, this.environment.token !== null);
        }
        if (isLast || pause > this.retries.longestWaitMs) {
          throw this.unreachable(`it answered ${status} ${attempt === 1 ? 'once' : `${attempt} times`}`);
        }
      } catch (error) {
        if (error instanceof SightlineError) throw error;
        signal?.throwIfAborted();
        if (isLast || isFinal(error)) throw this.unreachable(causeOf(error), error);
        reason = causeOf(error);
      }
      await this.pause(reason, pause, signal);
    }
  }

  async pause(reason: string, milliseconds: number, signal?: AbortSignal): Promise<void> {
    this.onPause(reason, milliseconds);
    await sleep(milliseconds, undefined, { ...(signal && { signal }) });
  }

  unreachable(reason: string, cause?: unknown): SightlineError {
    return new SightlineError(
      'HUB_UNREACHABLE',
      `The hub at ${this.name} cannot be reached (${reason}): check the network, set HTTPS_PROXY if there is a proxy, or HF_ENDPOINT to a mirror.`,
      { cause },
    );
  }

  /**
   * Redirects by hand: fetch would hide what the hub says in the first answer (commit, hash, size), and the token must
   * reach no other server than the hub's, whatever a redirect says.
   */
  async #follow(url: string, init: RequestInit, signal?: AbortSignal): Promise<HubAnswer> {
    let hubHeaders: Response['headers'] | undefined;
    let target = new URL(url);
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const headers = new Headers(init.headers);
      headers.delete('authorization');
      headers.set('user-agent', 'sightline');
      const { token } = this.environment;
      if (token !== null && target.origin === this.#origin) headers.set('authorization', `Bearer ${token}`);
      const response = await undiciFetch(target, {
        ...init,
        headers: [...headers],
        redirect: 'manual',
        dispatcher: this.#agent,
        ...(signal && { signal }),
      });
      hubHeaders ??= response.headers;
      const location = response.headers.get('location');
      if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return { response, hubHeaders };
      await response.body?.cancel().catch(() => undefined);
      const next = new URL(location, target);
      if (next.protocol !== 'https:' && !(next.protocol === 'http:' && target.protocol === 'http:')) {
        throw new SightlineError(
          'HUB_REFUSED',
          `The hub at ${this.name} redirects to ${next.protocol}//${next.host}, which is not encrypted: nothing was fetched.`,
        );
      }
      // A renamed repository is a redirect within the hub: what it says next counts.
      if (next.origin === target.origin && next.origin === this.#origin) hubHeaders = undefined;
      target = next;
    }
    throw new SightlineError(
      'HUB_REFUSED',
      `The hub at ${this.name} redirects in a circle from ${url}: check HF_ENDPOINT.`,
    );
  }
}

/**
 * A wait that the server asks for, in milliseconds: `Retry-After` in seconds or as a date, or the hub's
 * `RateLimit: ...;t=seconds`.
 */
function askedPause(headers: Response['headers']): number | null {
  const after = headers.get('retry-after')?.trim();
  if (after !== undefined && after !== '') {
    if (/^\d+$/.test(after)) return Number(after) * 1000;
    const date = Date.parse(after);
    if (!Number.isNaN(date)) return Math.max(0, date - Date.now());
  }
  const reset = /(?:^|;)\s*t=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1];
  return reset === undefined ? null : Number(reset) * 1000;
}

function tooMany(hub: string, asked: number | null, hasToken: boolean): SightlineError {
  const until = asked === null ? 'later' : `in ${Math.ceil(asked / 1000)} s`;
  return new SightlineError(
    'HUB_REFUSED',
    `The hub at ${hub} has had too many requests from this address (429): try again ${until}${hasToken ? '' : ', or set HF_TOKEN, which raises the limit'}.`,
    { details: { status: 429, retryAfterMs: asked } },
  );
}

/** Failures that no retry repairs: a name that does not exist, a certificate that is not trusted. */
function isFinal(error: unknown): boolean {
  return /^(ENOTFOUND|CERT_|ERR_TLS_|DEPTH_ZERO|UNABLE_TO_|SELF_SIGNED|ERR_INVALID_URL)/.test(codeOf(error) ?? '');
}

function codeOf(error: unknown): string | undefined {
  for (let each = error; each instanceof Error; each = each.cause) {
    const { code } = each as NodeJS.ErrnoException;
    if (typeof code === 'string') return code;
  }
  return undefined;
}

/** The innermost reason: fetch only says "fetch failed". */
export function causeOf(error: unknown): string {
  const code = codeOf(error);
  let inner = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  const message = inner instanceof Error ? inner.message : String(inner);
  return code === undefined || message.includes(code)
    ? message || 'the connection failed'
    : message === ''
      ? code
      : `${code}: ${message}`;
}
