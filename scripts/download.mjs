import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { EnvHttpProxyAgent, fetch } from 'undici';
import { Progress } from './progress.mjs';
import { SetupError } from '../lib/setup/setup-error.mjs';

/** A connection that sends nothing for this long is given up. */
const STALL_MS = 60_000;
const CONNECT_MS = 15_000;

/**
 * Streams a file to `target` and checks its SHA-256. Redirects are followed; HTTPS_PROXY, HTTP_PROXY and NO_PROXY are
 * honoured (Node's own fetch does that from version 24 only, hence undici).
 *
 * @param {object} request
 * @param {string} request.url
 * @param {string} request.target overwritten
 * @param {string} request.sha256 lower-case hexadecimal
 * @param {string} request.label for the progress line
 * @param {NodeJS.ProcessEnv} request.env
 * @param {(bytes: number | null) => Promise<void>} request.beforeBody called with the announced size before a byte is
 * written
 */
export async function download({ url, target, sha256, label, env, beforeBody }) {
  const agent = new EnvHttpProxyAgent({
    .../** @type {object} */ ({
      httpProxy: env.http_proxy ?? env.HTTP_PROXY,
      httpsProxy: env.https_proxy ?? env.HTTPS_PROXY,
      noProxy: env.no_proxy ?? env.NO_PROXY,
    }),
    connect: { timeout: CONNECT_MS },
    headersTimeout: STALL_MS,
    bodyTimeout: STALL_MS,
  });
  try {
    const response = await fetch(url, { dispatcher: agent }).catch((error) => {
      throw unreachable(url, error);
    });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      throw new SetupError(
        `${url} answered ${response.status} ${response.statusText}: check the address, or name another place with --mirror or --from-file.`,
      );
    }
    const announced = Number(response.headers.get('content-length')) || null;
    await beforeBody(announced);

    const progress = new Progress(label, announced);
    const hash = createHash('sha256');
    const file = await open(target, 'w');
    let received = 0;
    try {
      for await (const chunk of response.body) {
        hash.update(chunk);
        await file.write(chunk);
        received += chunk.byteLength;
        progress.update(received);
      }
    } catch (error) {
      throw describeBreak(url, received, announced, error);
    } finally {
      await file.close();
    }
    progress.end();
    if (announced !== null && received !== announced) throw describeBreak(url, received, announced, null);
    requireHash(url, hash.digest('hex'), sha256);
  } finally {
    await agent.destroy();
  }
}

/**
 * The SHA-256 of a file in lower-case hexadecimal.
 * @param {string} file
 */
export async function hashFile(file) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

/**
 * @param {string} what
 * @param {string} actual
 * @param {string} expected
 */
export function requireHash(what, actual, expected) {
  if (actual !== expected.toLowerCase()) {
    throw new SetupError(
      `${what} has SHA-256 ${actual} and not ${expected.toLowerCase()}: it is damaged or another file, so nothing was installed; fetch it again, or pass the right --sha256.`,
    );
  }
}

/** @param {string} url @param {any} error */
function unreachable(url, error) {
  const cause = error?.cause ?? error;
  const reason = cause?.code ?? cause?.message ?? String(error);
  return new SetupError(
    `${url} cannot be reached (${reason}): check the network, set HTTPS_PROXY, or name another place with --mirror or --from-file.`,
    { cause: error },
  );
}

/** @param {string} url @param {number} received @param {number | null} announced @param {any} error */
function describeBreak(url, received, announced, error) {
  if (error?.code === 'ENOSPC') {
    return new SetupError(
      `The disk is full after ${received} bytes of ${url}: free some space, or set SIGHTLINE_CACHE to a folder on a larger disk.`,
      { cause: error },
    );
  }
  const reason =
    error === null
      ? 'the connection closed'
      : (error?.cause?.code ?? error?.code ?? error?.cause?.message ?? error?.message);
  return new SetupError(
    `${url} broke off after ${received} of ${announced ?? 'an unknown number of'} bytes (${reason}): try again, or name another place with --mirror or --from-file.`,
    { cause: error },
  );
}
