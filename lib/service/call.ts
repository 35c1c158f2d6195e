/** A request, whatever server it came through. */
export interface Call {
  readonly method: string;
  /** As it was sent: percent signs are not resolved. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly header: (name: string) => string | null;
  /** The chunks of the body, read once. */
  readonly body: AsyncIterable<Uint8Array>;
  /** The address that it came from; null where the server does not say. */
  readonly address: string | null;
  /** Aborted when the client has gone before it was answered. */
  readonly signal: AbortSignal;
}

/** A body that is written while its work goes on. */
export interface Streamed extends AsyncIterable<string> {
  /** Resolves when the work has ended, read or not: to the error that cut it off, else to null. */
  readonly ended: Promise<unknown>;
}

/** What is sent back: mostly whole, since maps are small. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | string | Streamed;
}

export const isStreamed = (body: Answer['body']): body is Streamed => typeof body === 'object' && 'ended' in body;

export function json(
  body: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Answer & { readonly body: string } {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
}
