import { methods, models, parts } from './about.js';
import { attention } from './attention.js';
import { json } from './call.js';
import type { Handler } from './exchange.js';
import * as friendly from './friendly.js';
import { maximize } from './maximize.js';
import { pageFile, pageOr } from './page.js';
import * as v1 from './v1.js';
import * as v2 from './v2.js';

/** One path and verb of a service. */
export interface Route {
  /** What metrics and the OpenAPI document call it. */
  readonly id: string;
  readonly method: 'GET' | 'POST';
  /** A name in braces stands for one segment, without a colon. */
  readonly path: string;
  /** Whether it runs a model, and so counts against `maxRequests` and the deadline. */
  readonly runs: boolean;
  /** Whether it is answered without a token: what a load balancer asks. */
  readonly isOpen: boolean;
  /** Null for what the service answers from its own state. */
  readonly handler: Handler | null;
}

const get = (id: string, path: string, handler: Handler | null, isOpen = false): Route => ({
  id,
  method: 'GET',
  path,
  runs: false,
  isOpen,
  handler,
});
const post = (id: string, path: string, handler: Handler): Route => ({
  id,
  method: 'POST',
  path,
  runs: true,
  isOpen: false,
  handler,
});

/** What is asked by POST and answered from the service's own state. */
const at = (id: string, path: string): Route => ({ ...get(id, path, null), method: 'POST' });

const modelReady: Handler = (exchange) => {
  v2.checkVersion(exchange);
  // Also of a name that there is not.
  const { name } = exchange.model(exchange.path['model']);
  return json({ name, ready: true });
};

/** Every route of a service; those without a handler are answered in `service.ts`. */
export const ROUTES: readonly Route[] = [
  get('alive', '/', (exchange) => pageOr(exchange, () => json({ status: 'alive' })), true),
  get('page', '/page/{file}', pageFile, true),
  get('health', '/health', null, true),
  get('metrics', '/metrics', null),
  get('openapi', '/openapi.json', null),
  get('models', '/models', models),
  get('model', '/models/{model}', parts),
  get('methods', '/methods', methods),
  post('explain', '/explain', friendly.explain),
  post('attention', '/attention', attention),
  post('maximize', '/maximize', maximize),
  get('v1Models', '/v1/models', null),
  get('v1Model', '/v1/models/{model}', modelReady),
  post('v1Predict', '/v1/models/{model}:predict', v1.predict),
  post('v1Explain', '/v1/models/{model}:explain', v1.explain),
  get('v2Server', '/v2', null),
  get('v2Live', '/v2/health/live', () => json({ live: true }), true),
  get('v2Ready', '/v2/health/ready', null, true),
  ...['', '/versions/{version}'].flatMap((version, i) => {
    const suffix = i === 0 ? '' : 'Version';
    const path = `/v2/models/{model}${version}`;
    return [
      get(`v2Model${suffix}`, path, v2.metadata),
      get(`v2ModelReady${suffix}`, `${path}/ready`, modelReady),
      post(`v2Infer${suffix}`, `${path}/infer`, v2.infer),
      post(`v2Explain${suffix}`, `${path}/explain`, v2.explain),
    ];
  }),
  at('v2RepositoryIndex', '/v2/repository/index'),
  at('v2RepositoryLoad', '/v2/repository/models/{model}/load'),
  at('v2RepositoryUnload', '/v2/repository/models/{model}/unload'),
];

const PATTERNS = ROUTES.map((route) => {
  const names = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  const pattern = route.path.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '([^/:]+)');
  return { route, names, pattern: new RegExp(`^${pattern}$`) };
});

export interface Found {
  /** The routes of that path, whatever their verb; empty where there is no such path. */
  readonly routes: readonly Route[];
  readonly parameters: Readonly<Record<string, string>>;
}

/** The routes that a path names. Clients write the colon before a verb as it is, or as `%3A`. */
export function findRoutes(path: string): Found {
  const written = path.replace(/%3a(?=(?:predict|explain)$)/i, ':');
  const plain = written.length > 1 ? written.replace(/\/$/, '') : written;
  const matches = PATTERNS.flatMap(({ route, names, pattern }) => {
    const match = pattern.exec(plain);
    return match === null ? [] : [{ route, values: names.map((name, i) => [name, match[i + 1]!] as const) }];
  });
  try {
    const parameters = Object.fromEntries(
      (matches[0]?.values ?? []).map(([name, value]) => [name, decodeURIComponent(value)]),
    );
    return { routes: matches.map(({ route }) => route), parameters };
  } catch {
    // A percent sign that begins no character.
    return { routes: [], parameters: {} };
  }
}
