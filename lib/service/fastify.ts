/** `sightline/fastify`: a service as a plugin of Fastify 5. */
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

import type { FastifyInstance, FastifyPluginAsync } from 'fastify';

import { isStreamed } from './call.js';
import { callOf, headersOf } from './node.js';
import { ROUTES } from './routes.js';
import { createService, type Service } from './service.js';
import type { ServiceOptions } from './settings.js';

export type { Service, ServiceHealth } from './service.js';
export type { GivenModel } from './models.js';
export type { ServiceLimits, ServiceLogger, ServiceOptions, ServiceSpan, ServiceTracer } from './settings.js';

declare module 'fastify' {
  interface FastifyInstance {
    /** The service that `sightline/fastify` registered. */
    readonly sightline: Service;
  }
}

/** Options of the plugin: those of `createService`, and where its routes lie. */
export interface SightlineFastifyOptions extends ServiceOptions {
  /** The beginning of the path of every route, such as `/vision`. Default: nothing. */
  readonly prefix?: string | undefined;
}

const plugin: FastifyPluginAsync<SightlineFastifyOptions> = async (app, { prefix, ...options }) => {
  // Fastify's own loggers are pino's.
  const service = createService({ logger: app.log, ...options });
  app.decorate('sightline', service);
  app.addHook('onClose', async () => {
    await service.close();
  });
  // Within a scope of their own, so that the app keeps its parsers of bodies.
  await app.register(
    (scope, _options, done) => {
      addRoutes(scope, service);
      done();
    },
    prefix === undefined ? {} : { prefix },
  );
};

function addRoutes(scope: FastifyInstance, service: Service): void {
  scope.removeAllContentTypeParsers();
  // Handed on unread: the service reads it up to its own limit.
  scope.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  for (const { method, path } of ROUTES) {
    // Without the pattern, Fastify takes `name::explain` for one parameter.
    const url = path.replace(/\{(\w+)\}/g, ':$1(^[^/:]+)').replace(/\)(:\w+)$/, '):$1');
    scope.route({
      method,
      url,
      handler: async (request, reply) => {
        const call = callOf(request.raw, reply.raw, (request.body ?? request.raw) as IncomingMessage);
        // The scope's prefix is not the service's.
        const answer = await service.handle({ ...call, path: call.path.slice(scope.prefix.length) || '/' });
        const { status, body } = answer;
        reply.code(status).headers(headersOf(answer, request.raw));
        return reply.send(isStreamed(body) ? Readable.from(body, { highWaterMark: 1 }) : body);
      },
    });
  }
}

/** Without it, Fastify would keep the decorator to the plugin's own scope. */
const unscoped = Symbol.for('skip-override');

/**
 * `await app.register(sightline, { models: { vit: 'vit.pt' }, prefix: '/vision' })`: adds the routes, decorates the app
 * with `sightline`, and closes with it.
 */
export const sightline: FastifyPluginAsync<SightlineFastifyOptions> = Object.assign(plugin, {
  [unscoped]: true,
  [Symbol.for('fastify.display-name')]: 'sightline',
  [Symbol.for('plugin-meta')]: { name: 'sightline', fastify: '5.x' },
});
export default sightline;
