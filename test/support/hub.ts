import { createHash } from 'node:crypto';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

/** Contents of a file; `lfs` is kept apart and reached by a redirect, as the hub does with `.safetensors`. */
export type HubFile = Buffer | string | { readonly lfs: Buffer };

export interface HubRequest {
  readonly server: 'hub' | 'cdn';
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
}

/** What goes wrong with a request. */
export type Failure =
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  /** The connection breaks after so many bytes of the body. */
  | { readonly cutAfter: number }
  /** One byte of the body is another one; the length stays. */
  | { readonly corruptAt: number }
  /** The whole is sent, whatever range was asked for. */
  | { readonly ignoresRange: true }
  /** The body comes in pieces, with a pause in milliseconds after each. */
  | { readonly piece: number; readonly pauseMs: number };

const CUT_DELAY_MS = 300;

interface Repository {
  readonly commit: string;
  readonly files: ReadonlyMap<string, Stored>;
  readonly token: string | null;
  readonly gated: boolean;
}

interface Stored {
  readonly bytes: Buffer;
  readonly isLfs: boolean;
  /** SHA-256 for LFS, else git's SHA-1. */
  readonly hash: string;
}

/**
 * A hub on this machine that speaks what the hub's JavaScript client and Python's huggingface_hub ask: revisions, trees
 * and path infos, HEAD and GET of `resolve/`, ETags, LFS by a redirect to a "content network" on another port, ranges.
 * It remembers every request, and fails as told.
 */
export class LoopbackHub {
  readonly requests: HubRequest[] = [];
  readonly #repositories = new Map<string, Repository>();
  readonly #renamed = new Map<string, string>();
  #fail: (request: HubRequest) => Failure | undefined = () => undefined;

  private constructor(
    private readonly hub: Server,
    private readonly cdn: Server,
  ) {}

  static async start(): Promise<LoopbackHub> {
    const [hub, cdn] = [createServer(), createServer()];
    const self = new LoopbackHub(hub, cdn);
    hub.on('request', (request, response) => void self.#answer('hub', request, response));
    cdn.on('request', (request, response) => void self.#answer('cdn', request, response));
    await Promise.all(
      [hub, cdn].map((server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))),
    );
    return self;
  }

  /** What HF_ENDPOINT is to be. */
  get endpoint(): string {
    return addressOf(this.hub);
  }

  /** Where LFS files come from. */
  get contentNetwork(): string {
    return addressOf(this.cdn);
  }

  /** Puts a repository there, or a new commit of it. Returns the commit. */
  add(
    repository: string,
    files: Readonly<Record<string, HubFile>>,
    {
      token = null,
      gated = false,
      commit: own,
    }: { readonly token?: string | null; readonly gated?: boolean; readonly commit?: string } = {},
  ): string {
    const stored = new Map(Object.entries(files).map(([path, file]) => [path, store(file)] as const));
    const commit =
      own ??
      createHash('sha1')
        .update([...stored].map(([path, { hash }]) => `${path} ${hash}`).join('\n'))
        .digest('hex');
    this.#repositories.set(repository, { commit, files: stored, token, gated });
    return commit;
  }

  rename(from: string, to: string): void {
    this.#renamed.set(from, to);
  }

  /** Chooses what goes wrong; the last call counts. */
  failWith(fail: (request: HubRequest) => Failure | undefined): void {
    this.#fail = fail;
  }

  /** Requests for contents, by the file's name at the end of the path. */
  transfersOf(file: string): HubRequest[] {
    return this.requests.filter(({ method, url }) => method === 'GET' && url.split('?')[0]!.endsWith(`/${file}`));
  }

  async close(): Promise<void> {
    for (const server of [this.hub, this.cdn]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  async #answer(server: 'hub' | 'cdn', incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request: HubRequest = {
      server,
      method: incoming.method ?? 'GET',
      url: incoming.url ?? '/',
      headers: incoming.headers,
    };
    this.requests.push(request);
    const body = await textOf(incoming);
    const failure = this.#fail(request);
    if (failure !== undefined && 'status' in failure) {
      response
        .writeHead(failure.status, {
          'content-length': String(Buffer.byteLength(failure.body ?? '')),
          ...failure.headers,
        })
        .end(failure.body ?? '');
      return;
    }
    const [path, query = ''] = request.url.split('?') as [string, string?];
    const parts = decodeURIComponent(path).split('/').slice(1);
    if (server === 'cdn') return this.#contents(request, response, parts, failure);
    if (parts[0] === 'api' && parts[1] === 'models') {
      return this.#api(request, response, parts.slice(2), new URLSearchParams(query), body);
    }
    return this.#resolve(request, response, parts, failure);
  }

  /** `/api/models/org/name[/revision/REV | /tree/REV | /paths-info/REV]` */
  #api(
    request: HubRequest,
    response: ServerResponse,
    [org, name, kind = 'revision', revision = 'main']: string[],
    query: URLSearchParams,
    body: string,
  ): void {
    const id = `${org}/${name}`;
    const found = this.#allowed(request, response, id, revision);
    if (found === null) return;
    const entries = [...found.files].map(([path, file]) => ({
      type: 'file',
      path,
      size: file.bytes.length,
      // Of an LFS file git itself holds only a pointer.
      oid: file.isLfs ? gitHash(pointerOf(file)) : file.hash,
      ...(file.isLfs && { lfs: { oid: file.hash, size: file.bytes.length, pointerSize: pointerOf(file).length } }),
    }));
    const siblings = entries.map(({ path, size, oid, ...rest }) => ({
      rfilename: path,
      ...(query.get('blobs') === 'true' && { size, blobId: oid, ...('lfs' in rest && { lfs: rest.lfs }) }),
    }));
    if (kind === 'revision') {
      return json(response, {
        _id: '0',
        id,
        modelId: id,
        sha: found.commit,
        private: found.token !== null,
        gated: found.gated ? 'manual' : false,
        disabled: false,
        downloads: 0,
        likes: 0,
        tags: [],
        lastModified: '2024-01-01T00:00:00.000Z',
        createdAt: '2024-01-01T00:00:00.000Z',
        siblings,
      });
    }
    if (kind === 'tree') return json(response, entries);
    const paths = request.headers['content-type']?.startsWith('application/json')
      ? (JSON.parse(body) as { paths: string[] }).paths
      : new URLSearchParams(body).getAll('paths');
    json(
      response,
      entries.filter(({ path }) => paths.includes(path)),
    );
  }

  /** `/org/name/resolve/REV/path` */
  #resolve(
    request: HubRequest,
    response: ServerResponse,
    [org, name, , revision = 'main', ...path]: string[],
    failure: Failure | undefined,
  ): void {
    const id = `${org}/${name}`;
    const found = this.#allowed(request, response, id, revision);
    if (found === null) return;
    const file = found.files.get(path.join('/'));
    const headers = { 'x-repo-commit': found.commit };
    if (file === undefined) return refuse(response, 404, 'EntryNotFound', 'Entry not found', headers);
    if (!file.isLfs) return send(request, response, file, headers, failure);
    response
      .writeHead(302, {
        ...headers,
        location: `${this.contentNetwork}/${id}/${file.hash}/${path.join('/')}?signature=secret`,
        etag: `"${gitHash(pointerOf(file))}"`,
        'x-linked-etag': `"${file.hash}"`,
        'x-linked-size': String(file.bytes.length),
        'content-length': '0',
      })
      .end();
  }

  #contents(
    request: HubRequest,
    response: ServerResponse,
    [org, name, hash]: string[],
    failure: Failure | undefined,
  ): void {
    const file = [...(this.#repositories.get(`${org}/${name}`)?.files.values() ?? [])].find(
      (each) => each.hash === hash,
    );
    if (file === undefined) return void response.writeHead(403).end();
    // A content network has tags of its own.
    send(request, response, file, { etag: `"cdn-${hash!.slice(0, 8)}"` }, failure);
  }

  /** The repository, if it is there and the request may see it; else the answer is given as the hub gives it. */
  #allowed(request: HubRequest, response: ServerResponse, id: string, revision: string): Repository | null {
    const renamed = this.#renamed.get(id);
    if (renamed !== undefined) {
      response.writeHead(307, { location: request.url.replace(id, renamed), 'content-length': '0' }).end();
      return null;
    }
    const given = request.headers.authorization?.replace('Bearer ', '') ?? null;
    const found = this.#repositories.get(id);
    if (found === undefined) {
      refuse(
        response,
        given === null ? 401 : 404,
        given === null ? null : 'RepoNotFound',
        given === null ? 'Invalid username or password.' : 'Repository not found',
      );
    } else if (found.gated && given !== found.token) {
      refuse(response, given === null ? 401 : 403, 'GatedRepo', `Access to model ${id} is restricted.`);
    } else if (found.token !== null && given === null) refuse(response, 401, 'RepoNotFound', 'Repository not found');
    else if (found.token !== null && given !== found.token) {
      refuse(response, 401, null, 'Invalid credentials in Authorization header');
    } else if (revision !== 'main' && revision !== found.commit && revision !== 'HEAD') {
      refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
    } else return found;
    return null;
  }
}

/** Sends a file or the range of it that was asked for, with whatever failure applies to its body. */
function send(
  request: HubRequest,
  response: ServerResponse,
  { bytes, hash }: Stored,
  headers: Readonly<Record<string, string>>,
  failure: Failure | undefined,
): void {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  const isRange = first !== undefined && !(failure !== undefined && 'ignoresRange' in failure);
  const begin = isRange ? Number(first) : 0;
  const end = isRange && last ? Math.min(Number(last) + 1, bytes.length) : bytes.length;
  const common = {
    etag: `"${hash}"`,
    'accept-ranges': 'bytes',
    'content-type': 'application/octet-stream',
    ...headers,
  };
  if (begin >= bytes.length && bytes.length > 0) {
    return void response
      .writeHead(416, { ...common, 'content-range': `bytes */${bytes.length}`, 'content-length': '0' })
      .end();
  }
  let body = bytes.subarray(begin, end);
  response.writeHead(isRange ? 206 : 200, {
    ...common,
    'content-length': String(body.length),
    ...(isRange && { 'content-range': `bytes ${begin}-${end - 1}/${bytes.length}` }),
  });
  if (request.method === 'HEAD') return void response.end();
  if (failure !== undefined && 'corruptAt' in failure && failure.corruptAt >= begin && failure.corruptAt < end) {
    body = Buffer.from(body);
    body[failure.corruptAt - begin]! ^= 1;
  }
  if (failure !== undefined && 'cutAfter' in failure) {
    // Later, since a client may throw away what it has received and not read yet when the connection breaks.
    response.flushHeaders();
    if (failure.cutAfter > 0) response.write(body.subarray(0, failure.cutAfter));
    setTimeout(() => response.socket?.destroy(), CUT_DELAY_MS);
    return;
  }
  if (failure !== undefined && 'piece' in failure) return sendSlowly(response, body, failure.piece, failure.pauseMs);
  response.end(body);
}

function sendSlowly(response: ServerResponse, body: Buffer, piece: number, pauseMs: number): void {
  if (body.length === 0 || response.destroyed) return void response.end();
  response.write(body.subarray(0, piece));
  setTimeout(() => sendSlowly(response, body.subarray(piece), piece, pauseMs), pauseMs);
}

function refuse(
  response: ServerResponse,
  status: number,
  code: string | null,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = JSON.stringify({ error: message });
  response
    .writeHead(status, {
      ...headers,
      ...(code !== null && { 'x-error-code': code }),
      'x-error-message': message,
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
    })
    .end(response.req.method === 'HEAD' ? undefined : body);
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function store(file: HubFile): Stored {
  if (typeof file === 'object' && 'lfs' in file) {
    return { bytes: file.lfs, isLfs: true, hash: createHash('sha256').update(file.lfs).digest('hex') };
  }
  const bytes = Buffer.from(file as Buffer);
  return { bytes, isLfs: false, hash: gitHash(bytes) };
}

/** About what git holds in place of a large file; nobody reads it here. */
function pointerOf({ bytes, hash }: Stored): Buffer {
  return Buffer.from(`version 1\noid sha256:${hash}\nsize ${bytes.length}\n`);
}

function gitHash(bytes: Buffer): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
