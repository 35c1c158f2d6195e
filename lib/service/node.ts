import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { pipeline, Readable } from 'node:stream';

import { SightlineError } from '../support/errors.js';
import { isStreamed, type Answer, type Call } from './call.js';
import type { Service } from './service.js';

/**
 * A handler for `node:http` and Express: `createServer(nodeHandler(service))`, `app.use('/vision',
 * nodeHandler(service))`. Mount it before parsers of bodies.
 */
export function nodeHandler(service: Service): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    void service.handle(callOf(request, response, request)).then((answer) => send(answer, request, response));
  };
}

/** @internal A call of Node's own server. @param body what the body is read from */
export function callOf(request: IncomingMessage, response: ServerResponse, body: AsyncIterable<Uint8Array>): Call {
  const { pathname, searchParams } = urlOf(request.url ?? '/');
  const gone = new AbortController();
  // The response's close: the request's comes as soon as its body was read.
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  // A pipelined request's response has no connection, and so no close, until those before it are answered.
  const stop = onSocketClose(request.socket, () => gone.abort());
  response.once('close', stop);
  return {
    method: request.method ?? 'GET',
    path: pathname,
    query: searchParams,
    header: (name) => {
      const value = request.headers[name.toLowerCase()];
      return Array.isArray(value) ? value.join(', ') : (value ?? null);
    },
    address: request.socket.remoteAddress ?? null,
    body: unread(request, body),
    signal: gone.signal,
  };
}

/** What waits for the end of each connection. One listener serves all, since a client may pipeline hundreds. */
const waiting = new WeakMap<Socket, Set<() => void>>();

/** @returns a function that ends the waiting */
function onSocketClose(socket: Socket, callback: () => void): () => void {
  if (socket.destroyed) callback();
  let callbacks = waiting.get(socket);
  if (callbacks === undefined) {
    const own = new Set<() => void>();
    callbacks = own;
    waiting.set(socket, own);
    socket.once('close', () => [...own].forEach((each) => each()));
  }
  callbacks.add(callback);
  return () => callbacks.delete(callback);
}

/** A target such as `//x` is a path here, and not a host. */
function urlOf(target: string): { readonly pathname: string; readonly searchParams: URLSearchParams } {
  const at = target.indexOf('?');
  const [path, query] = at < 0 ? [target, ''] : [target.slice(0, at), target.slice(at + 1)];
  return { pathname: path === '' ? '/' : path, searchParams: new URLSearchParams(query) };
}

async function* unread(request: IncomingMessage, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (body === request && request.readableEnded) {
    const hasBody = request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length']) > 0;
    if (hasBody) {
      throw new SightlineError(
        'INTERNAL',
        'The body was read before it came to sightline; mount its handler before express.json() and other parsers.',
      );
    }
    return;
  }
  yield* body;
}

/**
 * @internal A body that was read in part stays in the way of the connection's next request. Node discards what nobody
 * began to read.
 */
export function headersOf({ headers }: Answer, request: IncomingMessage): Record<string, string> {
  const isCutOff = request.readableDidRead && !request.complete;
  return { ...headers, ...(isCutOff && { connection: 'close' }) };
}

function send(answer: Answer, request: IncomingMessage, response: ServerResponse): void {
  if (response.destroyed || response.headersSent) return;
  const { status, body } = answer;
  if (isStreamed(body)) {
    response.writeHead(status, headersOf(answer, request));
    // A client that goes is no fault: the iterator is told of it.
    pipeline(Readable.from(body, { highWaterMark: 1 }), response, () => undefined);
    return;
  }
  response.writeHead(status, { ...headersOf(answer, request), 'content-length': Buffer.byteLength(body) });
  response.end(request.method === 'HEAD' ? undefined : body);
}
