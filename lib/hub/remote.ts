import type { RequestInit, Response } from 'undici';
import { z } from 'zod';

import { SightlineError } from '../support/errors.js';
import type { HubAnswer, HubConnection } from './connection.js';
import { isBlobName, isCommit, isFileInside } from './names.js';

/** A file of a commit, as the hub lists it. */
export interface RemoteFile {
  readonly path: string;
  /** Bytes of the contents, not of an LFS pointer. */
  readonly size: number;
  /** SHA-256 of a file in LFS, else git's SHA-1: what the hub sends as ETag, and the name of the blob. */
  readonly blob: string;
}

/** What is read of the hub's answers; all else in them is left aside. */
const commitAnswer = z.object({ sha: z.string() });
const listingAnswer = z.array(
  z.object({
    path: z.string(),
    type: z.string(),
    size: z.number(),
    oid: z.string().optional(),
    lfs: z.object({ oid: z.string(), size: z.number() }).nullish(),
  }),
);

/** One repository on a hub: its commits and files. */
export class RemoteRepository {
  constructor(
    readonly connection: HubConnection,
    readonly repository: string,
    /** What follows "there is no such repository", such as the names of the catalog that are near. */
    readonly hint: string = '',
    readonly signal?: AbortSignal,
  ) {}

  /** The commit that a revision stands at now. */
  async commitOf(revision: string): Promise<string> {
    const { sha } = await this.#ask(commitAnswer, revision, `revision/${encodeURIComponent(revision)}?expand=sha`);
    if (!isCommit(sha)) throw this.#nonsense(`names the commit ${JSON.stringify(sha)}`);
    return sha;
  }

  /** Those of the files that are there, by path. */
  async files(commit: string, paths: readonly string[]): Promise<Map<string, RemoteFile>> {
    const listed = await this.#ask(listingAnswer, commit, `paths-info/${encodeURIComponent(commit)}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ paths }),
    });
    const files = new Map<string, RemoteFile>();
    for (const { path, type, size, oid, lfs } of listed) {
      if (type !== 'file' || !paths.includes(path)) continue;
      const blob = lfs?.oid ?? oid ?? '';
      const length = lfs?.size ?? size;
      if (!isFileInside(path) || !isBlobName(blob) || !Number.isSafeInteger(length) || length < 0) {
        throw this.#nonsense(`lists ${JSON.stringify(path)} with ${JSON.stringify({ size: length, hash: blob })}`);
      }
      files.set(path, { path, size: length, blob });
    }
    return files;
  }

  /** The contents of a file from a byte on: 200 (all of it), 206 or 416. */
  async contents(commit: string, file: RemoteFile, from: number, signal = this.signal): Promise<HubAnswer> {
    const path = file.path.split('/').map(encodeURIComponent).join('/');
    const url = `${this.connection.environment.endpoint}/${this.repository}/resolve/${commit}/${path}`;
    // Ranges count the bytes that are sent, so these must be the file's own.
    const headers: Record<string, string> = {
      'accept-encoding': 'identity',
      ...(from > 0 && { range: `bytes=${from}-` }),
    };
    const answer = await this.connection.request(url, { headers }, signal);
    const { status, ok } = answer.response;
    if (!ok && status !== 416) throw await this.#refusal(answer.response, commit, file.path);
    const tag = (answer.hubHeaders.get('x-linked-etag') ?? answer.hubHeaders.get('etag') ?? '')
      .replace(/^W\//, '')
      .replace(/^"|"$/g, '');
    // A mirror may send a tag of its own making; one that has the form of a hash is the contents' hash.
    if (isBlobName(tag) && tag !== file.blob) {
      await answer.response.body?.cancel().catch(() => undefined);
      throw new SightlineError(
        'WRONG_HASH',
        `The hub at ${this.connection.name} sends another ${file.path} of ${this.repository} (hash ${tag}) than it lists (${file.blob}): nothing was kept; try again later, or another HF_ENDPOINT.`,
      );
    }
    return answer;
  }

  /** Asks the hub's API about this repository. */
  async #ask<Answer>(
    schema: z.ZodType<Answer>,
    revision: string,
    what: string,
    init: RequestInit = {},
  ): Promise<Answer> {
    const { response } = await this.connection.request(
      `${this.connection.environment.endpoint}/api/models/${this.repository}/${what}`,
      { ...init, headers: { accept: 'application/json', ...(init.headers as Record<string, string>) } },
      this.signal,
    );
    if (!response.ok) throw await this.#refusal(response, revision, null);
    try {
      return schema.parse(await response.json());
    } catch (error) {
      if (this.signal?.aborted) throw error;
      throw this.#nonsense('does not answer as a hub does', error);
    }
  }

  #nonsense(what: string, cause?: unknown): SightlineError {
    return new SightlineError(
      'HUB_REFUSED',
      `The hub at ${this.connection.name} ${what} for ${this.repository}: check that HF_ENDPOINT is the address of a hub.`,
      { cause },
    );
  }

  async #refusal(response: Response, revision: string, file: string | null): Promise<SightlineError> {
    const { status } = response;
    const code = response.headers.get('x-error-code');
    const said = response.headers.get('x-error-message');
    await response.body?.cancel().catch(() => undefined);
    const { environment, name } = this.connection;
    const details = { status, repository: this.repository, hubCode: code };
    const refuse = (sentence: string, as: 'HUB_REFUSED' | 'UNKNOWN_MODEL' = 'HUB_REFUSED'): SightlineError =>
      new SightlineError(as, sentence, { details });
    const hint = this.hint === '' ? '' : ` ${this.hint}`;

    if (code === 'GatedRepo') {
      return refuse(
        environment.token === null
          ? `${this.repository} is gated: accept its terms on its page on the hub, then set HF_TOKEN to a token of that account.`
          : `${this.repository} is gated, and the account of the token in ${environment.tokenFrom} may not read it: accept its terms on its page on the hub, or wait until its owner lets you in.`,
      );
    }
    if (status === 401 && environment.token !== null && code !== 'RepoNotFound') {
      return refuse(
        `The hub at ${name} does not accept the token in ${environment.tokenFrom}: it is mistyped, expired or revoked; make a new one, or unset it for a public repository.`,
      );
    }
    if (status === 403) {
      return refuse(
        environment.token === null
          ? `The hub at ${name} does not let anyone read ${this.repository} without a token${said === null ? '' : ` (${said})`}: set HF_TOKEN to one that may.`
          : `The token in ${environment.tokenFrom} may not read ${this.repository}${said === null ? '' : ` (${said})`}: give it that right, or set HF_TOKEN to another one.`,
      );
    }
    if (code === 'RevisionNotFound') {
      return refuse(
        `${this.repository} has no revision "${revision}"; give a branch, a tag or a full commit of it.`,
        'UNKNOWN_MODEL',
      );
    }
    if (code === 'EntryNotFound' && file !== null) {
      return refuse(`${this.repository} has no file ${file} at ${revision}.`, 'UNKNOWN_MODEL');
    }
    // To those without a token the hub does not tell "missing" and "private" apart.
    if (status === 401) {
      return refuse(
        `The hub at ${name} has no public repository ${this.repository}: check the name, or, if it is private, set HF_TOKEN to a token that may read it.${hint}`,
      );
    }
    if (status === 404) {
      return refuse(
        `There is no repository ${this.repository} on the hub at ${name}${environment.token === null ? '' : ' that the token may see'}; check the name.${hint}`,
        'UNKNOWN_MODEL',
      );
    }
    return refuse(
      `The hub at ${name} refuses ${this.repository}${file === null ? '' : `, file ${file}`}, with status ${status}${said === null ? '' : ` (${said})`}.`,
    );
  }
}
