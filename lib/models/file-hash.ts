import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

import { abortedBy } from '../support/abort.js';
import { SightlineError } from '../support/errors.js';
import { unreadable } from '../support/files.js';
import type { ModelCard } from './card.js';

/** SHA-256 of a file in lower-case hexadecimal, read as a stream. */
export async function hashFile(path: string, options: { signal?: AbortSignal | undefined } = {}): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, {
      highWaterMark: 1 << 20,
      ...(options.signal && { signal: options.signal }),
    })) {
      hash.update(chunk as Buffer);
    }
  } catch (cause) {
    if (options.signal?.aborted) throw abortedBy(options.signal);
    throw unreadable(path, cause);
  }
  return hash.digest('hex');
}

/**
 * Checks an archive against the hash of its card; a card without a hash is passed.
 *
 * @param file where it is read, if not by its path
 * @throws SightlineError WRONG_HASH when they differ: the file is damaged, or the card is another one's.
 */
export async function verifyHash(
  archivePath: string,
  card: Pick<ModelCard, 'sha256'>,
  file = archivePath,
): Promise<void> {
  if (card.sha256 === undefined) return;
  const found = await hashFile(file);
  if (found === card.sha256) return;
  throw new SightlineError(
    'WRONG_HASH',
    `${archivePath} is not the file that its card describes: its SHA-256 is ${found}, the card says ${card.sha256}; fetch the archive again or correct the card.`,
    { details: { found, expected: card.sha256 } },
  );
}
