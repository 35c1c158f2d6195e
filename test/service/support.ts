import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';

import { Model, stats } from '../../lib/index.js';
import { createService, nodeHandler, type Service, type ServiceOptions } from '../../lib/service/http.js';
import { ROOT } from '../setup/fixtures.js';

export const photo = (name: string): Buffer => readFileSync(path.join(ROOT, 'models/demo/photos', name));

/** A service on loopback. */
export interface Served {
  readonly service: Service;
  readonly server: Server;
  readonly address: string;
  readonly stop: () => Promise<void>;
}

/** Milliseconds: what is answered is answered at the machine's pace. */
export const HOUR = 3_600_000;

export async function serve(options: ServiceOptions): Promise<Served> {
  const service = createService({ deadline: HOUR, ...options });
  const server = createServer(nodeHandler(service)).listen(0, '127.0.0.1');
  // After 5 s of silence, as a busy machine has them, Node would close what `fetch` is about to use again.
  server.keepAliveTimeout = HOUR;
  await once(server, 'listening');
  return {
    service,
    server,
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await service.close();
    },
  };
}

export const load = (name: string): Promise<Model> => Model.load(name, { device: 'cpu' });

/** What `JSON.stringify` leaves of a value. */
export const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

export const postJson = (url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

export const post = (url: string, body: Uint8Array, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(url, { method: 'POST', headers, body: new Uint8Array(body) });

/** Waits until the engine is idle: work that an earlier test gave up ends a little later, and is counted until then. */
export async function engineIdle(): Promise<void> {
  await until(() => stats().running + stats().queued === 0);
}

/** Waits until something is so. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5));
}
