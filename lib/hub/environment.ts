import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

import { SightlineError } from '../support/errors.js';

/** Where the hub is, where its files lie, and as whom we ask: what huggingface_hub reads from the same variables. */
export interface HubEnvironment {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** The folder that holds `models--org--name`. */
  readonly cache: string;
  readonly token: string | null;
  /** What to call the token's origin in a message, such as `HF_TOKEN`. */
  readonly tokenFrom: string | null;
  readonly offline: boolean;
  /** Whether snapshots must hold copies. */
  readonly copies: boolean;
  readonly proxies: {
    readonly http: string | undefined;
    readonly https: string | undefined;
    readonly none: string | undefined;
  };
}

/** The hub that is asked unless HF_ENDPOINT names another. */
const HUB_ADDRESS = 'https://huggingface.co';

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Reads HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE, HF_HUB_DISABLE_SYMLINKS and the
 * proxies; a variable that is set to nothing counts as not set.
 *
 * @throws SightlineError INVALID_OPTION when HF_ENDPOINT is no address, or the token none.
 */
export async function readHubEnvironment(variables: Variables = process.env): Promise<HubEnvironment> {
  const home = hubHome(variables);
  const { token, tokenFrom } = await findToken(variables, home);
  return {
    endpoint: endpointOf(variables),
    cache: cacheFolder(variables),
    token,
    tokenFrom,
    offline: isOn(set(variables, 'HF_HUB_OFFLINE') ?? set(variables, 'TRANSFORMERS_OFFLINE')),
    copies: isOn(set(variables, 'HF_HUB_DISABLE_SYMLINKS')),
    proxies: {
      http: set(variables, 'http_proxy') ?? set(variables, 'HTTP_PROXY'),
      https: set(variables, 'https_proxy') ?? set(variables, 'HTTPS_PROXY'),
      none: set(variables, 'no_proxy') ?? set(variables, 'NO_PROXY'),
    },
  };
}

/** The hub's cache, which Python's huggingface_hub shares. */
export function cacheFolder(variables: Variables = process.env): string {
  const named = set(variables, 'HF_HUB_CACHE') ?? set(variables, 'HUGGINGFACE_HUB_CACHE');
  return named === undefined ? join(hubHome(variables), 'hub') : expanded(named, variables);
}

function hubHome(variables: Variables): string {
  const named =
    set(variables, 'HF_HOME') ?? join(set(variables, 'XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface');
  return expanded(named, variables);
}

function endpointOf(variables: Variables): string {
  const named = (set(variables, 'HF_ENDPOINT') ?? HUB_ADDRESS).replace(/\/+$/, '');
  let url: URL;
  try {
    url = new URL(named);
  } catch (cause) {
    throw new SightlineError(
      'INVALID_OPTION',
      `HF_ENDPOINT is ${JSON.stringify(named)}, which is no address; set it to one such as http://localhost:8080, or unset it.`,
      { cause },
    );
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new SightlineError(
      'INVALID_OPTION',
      `HF_ENDPOINT is ${named}, which is neither http nor https; set it to the address of a hub, or unset it.`,
    );
  }
  if (url.username !== '' || url.password !== '') {
    throw new SightlineError(
      'INVALID_OPTION',
      `HF_ENDPOINT holds a name or a password for ${url.host}; take them out, and set HF_TOKEN to an access token.`,
    );
  }
  return named;
}

async function findToken(variables: Variables, home: string): Promise<Pick<HubEnvironment, 'token' | 'tokenFrom'>> {
  if (isOn(set(variables, 'HF_HUB_DISABLE_IMPLICIT_TOKEN'))) return { token: null, tokenFrom: null };
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']) {
    const token = cleaned(variables[name]);
    if (token !== null) return { token: sendable(token, name), tokenFrom: name };
  }
  const file = expanded(set(variables, 'HF_TOKEN_PATH') ?? join(home, 'token'), variables);
  // Not there, or not ours to read: public repositories need no token.
  const token = cleaned(await readFile(file, 'utf8').catch(() => ''));
  return token === null ? { token: null, tokenFrom: null } : { token: sendable(token, file), tokenFrom: file };
}

/** A token ends in the line break that an editor adds, and a header must not hold one. */
function cleaned(token: string | undefined): string | null {
  const bare = token?.replace(/[\r\n]/g, '').trim();
  return bare === undefined || bare === '' ? null : bare;
}

/** Characters that a header may not hold would look like a fault of the network. The token itself is not shown. */
function sendable(token: string, from: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new SightlineError(
    'INVALID_OPTION',
    `The value of ${from} is no access token: it holds spaces or characters that no token has; set it again.`,
  );
}

function set(variables: Variables, name: string): string | undefined {
  const value = variables[name]?.trim();
  return value === '' ? undefined : value;
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && ['1', 'ON', 'YES', 'TRUE'].includes(value.toUpperCase());
}

/** `~` and `$NAME`, which huggingface_hub expands in these variables. */
function expanded(path: string, variables: Variables): string {
  const atHome = path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path;
  return resolve(
    atHome.replace(
      /\$(?:\{(\w+)\}|(\w+))/g,
      (whole, braced?: string, bare?: string) => variables[braced ?? bare ?? ''] ?? whole,
    ),
  );
}
