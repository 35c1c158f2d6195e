import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { expect, onTestFinished } from 'vitest';

import { strictServer } from '../../lib/service/connection-faults.js';
import { createService, nodeHandler, type Service, type ServiceOptions } from '../../lib/service/http.js';
import { HOUR } from './support.js';

export interface Strict {
  readonly service: Service;
  readonly server: Server;
  readonly port: number;
  readonly address: string;
}

/** A service as `sightline serve` makes it, that must have had no fault at all when the test ends. */
export async function serveStrictly(options: ServiceOptions): Promise<Strict> {
  const faults: unknown[] = [];
  const logger = { info: () => undefined, error: (fields: object) => faults.push(fields) };
  const service = createService({ deadline: HOUR, logger, ...options });
  const server = strictServer(nodeHandler(service)).listen(0, '127.0.0.1');
  server.keepAliveTimeout = HOUR;
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    server.closeAllConnections();
    await service.close();
    expect(faults).toEqual([]);
  });
  const { port } = server.address() as AddressInfo;
  return { service, server, port, address: `http://127.0.0.1:${port}` };
}
