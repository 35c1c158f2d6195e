import {
  createServer,
  STATUS_CODES,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Duplex } from 'node:stream';

import { failed, ServiceFailure } from './failure.js';

/**
 * A server that answers what never becomes a request with a sentence and a code as all else: bytes that are no HTTP,
 * headers that are too large or come too slowly, a host that is not named, an `Expect` that nobody knows. Node's own
 * answers have no body.
 */
export function strictServer(handler: RequestListener): Server {
  const server = createServer({ requireHostHeader: false }, (request, response) => {
    if (request.headers.host !== undefined || request.httpVersion === '1.0') {
      handler(request, response);
      return;
    }
    refuse(response, new ServiceFailure('INVALID_REQUEST', 'A request of HTTP/1.1 names its host in the header Host.'));
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    // Where an answer is on its way, or this one was given and more of the same comes, nothing can be said.
    const { _httpMessage: current } = socket as Duplex & { _httpMessage?: ServerResponse | null };
    if (!socket.writable || current?.headersSent === true) {
      socket.destroy(error);
      return;
    }
    const { status, answer } = failed(faultOf(error), 0);
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'connection: close',
      ...Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}`),
      `content-length: ${Buffer.byteLength(answer.body)}`,
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${answer.body}`);
  });
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    refuse(
      response,
      new ServiceFailure('EXPECTATION_FAILED', 'The header Expect may ask for 100-continue and nothing else.'),
    );
  });
  return server;
}

function refuse(response: ServerResponse, failure: ServiceFailure): void {
  const { status, answer } = failed(failure, 0);
  const length = Buffer.byteLength(answer.body);
  response.writeHead(status, { ...answer.headers, 'content-length': length, connection: 'close' }).end(answer.body);
}

function faultOf({ code }: NodeJS.ErrnoException): ServiceFailure {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new ServiceFailure('HEADERS_TOO_LARGE', 'The headers are larger than the 16 KiB that are read.');
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new ServiceFailure(
        'BODY_TOO_LARGE',
        'The extensions of the chunks are larger than the 16 KiB that are read.',
      );
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ServiceFailure('REQUEST_TIMEOUT', 'The request came too slowly, and is waited for no longer.');
    default:
      return new ServiceFailure('INVALID_REQUEST', 'The bytes that came are no request of HTTP/1.1.');
  }
}
