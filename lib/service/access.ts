import { createHash, timingSafeEqual } from 'node:crypto';

import type { Call } from './call.js';
import { ServiceFailure } from './failure.js';

/** Who may ask, and whose each request is. */
export class Access {
  private readonly tokens: readonly Buffer[];

  constructor(
    tokens: readonly string[],
    private readonly clientHeader: string | undefined,
  ) {
    this.tokens = tokens.map(digest);
  }

  /** @throws ServiceFailure UNAUTHORIZED */
  check({ header }: Call): void {
    if (this.tokens.length === 0) return;
    const given = digest(/^Bearer +(\S+)$/i.exec(header('authorization') ?? '')?.[1] ?? '');
    // All are compared, so that time tells nothing of which one is near.
    if (this.tokens.map((token) => timingSafeEqual(token, given)).includes(true)) return;
    throw new ServiceFailure('UNAUTHORIZED', 'This service asks for a bearer token that it knows.', {
      'www-authenticate': 'Bearer',
    });
  }

  /** The same text for all requests of one client. Hashed, since a header is as long as its sender likes. */
  clientOf({ header, address }: Call): string {
    const named = this.clientHeader === undefined ? null : header(this.clientHeader);
    const token = this.tokens.length === 0 ? null : header('authorization');
    return digest(named ?? token ?? address ?? '').toString('base64');
  }
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
