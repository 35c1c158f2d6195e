import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { Command, InvalidArgumentError } from 'commander';

import { shortName } from '../model/short-name.js';
import { bundledModels, DEFAULT_MODEL } from '../models/bundled.js';
import { strictServer } from '../service/connection-faults.js';
import { createService, nodeHandler, type Service, type ServiceLogger } from '../service/http.js';
import { silentConnections } from '../service/silent-connections.js';
import { SightlineError } from '../support/errors.js';
import { keyValue, loadOptions, repeated, wholeNumber, withModelFlags, type ModelFlags } from './options.js';
import type { Session } from './session.js';

interface ServeFlags extends ModelFlags {
  readonly model?: readonly string[];
  readonly port: number;
  readonly host: string;
  readonly deadline?: number;
  readonly drain: number;
  readonly limit?: Readonly<Record<string, unknown>>;
  readonly clientHeader?: string;
  readonly repository?: true;
  readonly log?: true;
}

/** Where the token is looked for: a flag would show it to whoever lists the processes. */
const TOKEN = 'SIGHTLINE_TOKEN';

export function serveCommand(session: Session): Command {
  return withModelFlags(new Command('serve'))
    .description(
      'Serve models over HTTP: a page for people, KServe V1, Open Inference Protocol V2, POST /explain, metrics.',
    )
    .option(
      '--model <[name=]model>',
      `a bundled or pulled model, or the path of an archive; may be repeated (default: the bundled ones)`,
      repeated,
    )
    .option('--port <port>', 'to listen at; 0 takes a free one', port, 8080)
    .option('--host <address>', 'to listen at; 0.0.0.0 for all of the machine', '127.0.0.1')
    .option('--deadline <ms>', 'that a request has at most (default: 30000)', wholeNumber(1))
    .option('--drain <seconds>', 'that requests in flight have after SIGTERM', wholeNumber(1), 25)
    .option(
      '--limit <key=value>',
      'maxBodyBytes, maxBytesInFlight, maxPixels, maxImages, maxTargets, maxLayers, maxSamples, maxMemory, maxValues or maxRequests; may be repeated',
      keyValue,
    )
    .option(
      '--client-header <name>',
      'whose value says whose a request is, such as x-forwarded-for; requests of different clients take turns (default: the token, or the address)',
    )
    .option('--repository', 'let requests list, load and unload the models, as clients of Triton do')
    .option('--log', 'write a line of JSON for each request to stderr, by pino')
    .addHelpText(
      'after',
      `
Where ${TOKEN} is set, requests must give it: Authorization: Bearer TOKEN.

Examples:
  $ sightline serve
  $ sightline serve --model resnet50.pt --model vit=models/vit.pt --port 8080 --host 0.0.0.0
  $ curl --data-binary @dog.jpg -H 'content-type: image/jpeg' -H 'accept: image/png' localhost:8080/explain > map.png`,
    )
    .action((flags: ServeFlags) => serve(session, flags));
}

async function serve(session: Session, flags: ServeFlags): Promise<void> {
  const models = modelsOf(flags.model ?? (await bundledNamesFirst()));
  const token = process.env[TOKEN];
  const service = createService({
    models,
    load: loadOptions(flags, session.signal),
    limits: flags.limit,
    deadline: flags.deadline,
    token,
    clientHeader: flags.clientHeader,
    repository: flags.repository,
    processMetrics: true,
    logger: flags.log ? await pinoLogger() : undefined,
  });
  if (token === undefined && !/^(127\.|::1$|localhost$)/.test(flags.host)) {
    session.note(`Whoever reaches ${flags.host} may use it: ${TOKEN} is not set.`);
  }
  const reload = (): void => {
    service.reload().then(
      () => session.print(`Loaded ${Object.keys(models).join(', ')} again`),
      (error: unknown) => session.fail(`Not all models were loaded again: ${(error as Error).message}`),
    );
  };
  const stopped = stopSignal(session.signal);
  const server = strictServer(nodeHandler(service));
  const endSilent = silentConnections(server);
  // Longer than proxies keep theirs, which would else send a request into a connection that is being closed.
  server.keepAliveTimeout = 75_000;
  try {
    // Before the models are loaded, so that health tells of it meanwhile.
    const url = await listen(server, flags);
    await Promise.race([service.ready(), stopped]);
    if (service.health().state !== 'loading') {
      session.print(`Serving ${Object.keys(models).join(', ')} at ${url}`);
      session.print(`Open ${url}/ in a browser to see what they look at.`);
      session.answer({ url, models: Object.keys(models) });
      process.on('SIGHUP', reload);
    }
    await stopped;
  } finally {
    process.off('SIGHUP', reload);
    await shutDown(server, service, { drain: flags.drain * 1000, endSilent }, session);
  }
}

/** Waits until every request was answered; what is not answered by then is aborted. */
async function shutDown(
  server: Server,
  service: Service,
  { drain, endSilent }: { readonly drain: number; readonly endSilent: () => void },
  session: Session,
): Promise<void> {
  const ended = server.listening ? once(server, 'close') : Promise.resolve();
  server.close();
  // The answers of what was aborted have a second to get out.
  const timer = setTimeout(() => server.closeAllConnections(), drain + 1000);
  // A request may be on its way by a connection that was taken just now.
  const silent = setTimeout(endSilent, Math.min(1000, drain));
  const aborted = await service.close(drain, ended);
  clearTimeout(timer);
  clearTimeout(silent);
  if (aborted === 0) return;
  session.fail(`${aborted} requests were aborted, since they took longer than the ${drain / 1000} s of --drain.`);
  process.exitCode = 1;
}

async function listen(server: Server, { port, host }: ServeFlags): Promise<string> {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new SightlineError(
      'INVALID_OPTION',
      `The server cannot listen at ${host}, port ${port} (${code}); choose others by --host and --port.`,
      { cause },
    );
  }
  const { address, family, port: chosen } = server.address() as AddressInfo;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${chosen}`;
}

/** Resolves at SIGTERM, as of Kubernetes and Docker, and at Ctrl-C. */
function stopSignal(interrupt: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGTERM', () => resolve());
    interrupt.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** The one that knows photos first: it answers where a request names no model. */
async function bundledNamesFirst(): Promise<string[]> {
  const names = (await bundledModels()).map(({ name }) => name);
  return [DEFAULT_MODEL, ...names.filter((name) => name !== DEFAULT_MODEL)];
}

/** By `NAME=MODEL`, else by the file's name without its extension. */
function modelsOf(given: readonly string[]): Record<string, string> {
  const models = new Map<string, string>();
  for (const text of given) {
    const [, name, path] = /^([^=/\\]+)=(.+)$/.exec(text) ?? [];
    const model = path ?? text;
    const key = name ?? shortName(model);
    if (models.has(key)) {
      throw new SightlineError('INVALID_OPTION', `Two models are called ${key}; name one of them: --model NAME=MODEL.`);
    }
    models.set(key, model);
  }
  return Object.fromEntries(models);
}

function port(value: string): number {
  const number = wholeNumber(0)(value);
  if (number > 65_535) throw new InvalidArgumentError('Give a port from 0 to 65535.');
  return number;
}

async function pinoLogger(): Promise<ServiceLogger> {
  try {
    const { pino } = await import('pino');
    const logger: ServiceLogger = pino(pino.destination({ dest: 2, sync: true }));
    return logger;
  } catch (cause) {
    throw new SightlineError('INVALID_OPTION', '--log needs the package pino: run npm install pino.', { cause });
  }
}
