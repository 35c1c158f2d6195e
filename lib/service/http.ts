/** `sightline/http`: models behind HTTP, by web-standard requests, `node:http` or Express. */
export { nodeHandler } from './node.js';
export { createService, type Service, type ServiceHealth } from './service.js';
export type { GivenModel } from './models.js';
export type { ServiceLimits, ServiceLogger, ServiceOptions, ServiceSpan, ServiceTracer } from './settings.js';
