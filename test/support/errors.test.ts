import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, it } from 'vitest';

import { ERROR_CODES, SightlineError, type ErrorCode } from '../../lib/index.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const codes = Object.keys(ERROR_CODES) as ErrorCode[];

function textsOf(folder: string, ending: RegExp): string {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name))
    .map((name) => readFileSync(join(root, folder, name), 'utf8'))
    .join('\n');
}

it('each code has a sentence', () => {
  for (const code of codes) expect(ERROR_CODES[code], code).toMatch(/^[A-Z].{10,100}\.$/);
});

it('each code is given somewhere, and no other', () => {
  const native = textsOf('native', /\.(cc|h)$/);
  const lib = textsOf('lib', /\.(ts|mjs)$/).replace(/export const ERROR_CODES = \{[\s\S]*?\n\} as const;/, '');
  for (const code of codes) expect(lib.includes(`'${code}'`) || native.includes(`"${code}"`), code).toBe(true);
  const given = [
    ...lib.matchAll(/new SightlineError\(\s*'([A-Z_]+)'/g),
    ...native.matchAll(/(?:EngineError\(|EngineError \w+\()"([A-Z_]+)"/g),
  ].map(([, code]) => code);
  expect(given.length).toBeGreaterThan(50);
  expect(given.filter((code) => !codes.includes(code as ErrorCode))).toEqual([]);
});

it('docs/errors.md lists them all, with the same sentences', () => {
  const rows = [...readFileSync(join(root, 'docs/errors.md'), 'utf8').matchAll(/^\| `([A-Z_]+)` \| (.*) \|$/gm)].map(
    ([, code, line]) => [code, line],
  );
  expect(Object.fromEntries(rows)).toEqual(ERROR_CODES);
  expect(rows.map(([code]) => code)).toEqual(codes);
});

it('of an aborted request the name is that of the platform', () => {
  const reason = new Error('why');
  expect(new SightlineError('ABORTED', 'The request was aborted.', { cause: reason })).toMatchObject({
    name: 'AbortError',
    code: 'ABORTED',
    cause: reason,
  });
  expect(String(new SightlineError('ABORTED', 'The request was aborted.'))).toBe(
    'AbortError: The request was aborted.',
  );
  expect(new SightlineError('QUEUE_FULL', 'Full.')).toMatchObject({ name: 'SightlineError' });
});
