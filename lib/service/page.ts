import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import type { Answer, Call } from './call.js';
import type { Exchange, Handler } from './exchange.js';
import { ServiceFailure } from './failure.js';

/** Where the build puts the page, seen from lib/ and from dist/. */
const FOLDER = fileURLToPath(new URL('../../dist/page/', import.meta.url));

/** Media types of the page's files, by the ending of their names. */
export const PAGE_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.webp': 'image/webp',
  '.jpg': 'image/jpeg',
};

/** Nothing from elsewhere, no script or style but those of the page's own files. */
const POLICY = [
  "default-src 'self'",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

interface PageFile {
  readonly type: string;
  readonly body: Buffer;
  /** Null where it would not be smaller. */
  readonly gzip: Buffer | null;
}

let read: ReadonlyMap<string, PageFile> | null = null;

/** All files of the page, read once: a request is looked up among their names and never opens a file. */
export function pageFiles(): ReadonlyMap<string, PageFile> {
  read ??= new Map(
    (existsSync(FOLDER) ? readdirSync(FOLDER) : []).flatMap((name) => {
      const type = PAGE_TYPES[extname(name)];
      if (type === undefined) return [];
      const body = readFileSync(FOLDER + name);
      const gzip = type.startsWith('text/') ? gzipSync(body, { level: 9 }) : null;
      return [[name, { type, body, gzip }] as const];
    }),
  );
  return read;
}

/** The page for a browser that asks for `/`, and what others get there. */
export function pageOr({ call, hasPage }: Exchange, other: () => Answer): Answer {
  const index = hasPage && wantsHtml(call) ? pageFiles().get('index.html') : undefined;
  return index === undefined ? other() : answer(call, index, 'no-cache');
}

/** `GET /page/{file}`: a file of the page. */
export const pageFile: Handler = ({ call, path, hasPage }) => {
  const name = path['file']!;
  const file = hasPage ? pageFiles().get(name) : undefined;
  if (file === undefined) throw new ServiceFailure('NOT_FOUND', 'The page has no file of that name.');
  // Vite writes a digest into the names of what it builds.
  return answer(call, file, /-[\w-]{8}\.\w+$/.test(name) ? 'public, max-age=31536000, immutable' : 'max-age=600');
};

/** Browsers name HTML first; programs that take anything do not. */
function wantsHtml(call: Call): boolean {
  return /(^|,)\s*text\/html\b/.test(call.header('accept') ?? '');
}

function answer(call: Call, { type, body, gzip }: PageFile, caching: string): Answer {
  const isZipped = gzip !== null && /\bgzip\b/.test(call.header('accept-encoding') ?? '');
  return {
    status: 200,
    headers: {
      'content-type': type,
      'cache-control': caching,
      'content-security-policy': POLICY,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      vary: 'accept, accept-encoding',
      ...(isZipped && { 'content-encoding': 'gzip' }),
    },
    body: isZipped ? gzip : body,
  };
}
