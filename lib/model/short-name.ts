import { basename, extname } from 'node:path';

import { joinRevision, splitRevision } from '../hub/names.js';
import { isFileName } from './locate.js';

/**
 * What a model is called for short: a file without folder and extension, a model of the hub without its owner, but with
 * the revision that was asked for. It holds no slash, since it becomes a part of addresses.
 */
export function shortName(nameOrPath: string): string {
  if (isFileName(nameOrPath)) return basename(nameOrPath, extname(nameOrPath));
  const { name, revision } = splitRevision(nameOrPath);
  return joinRevision(basename(name), revision?.replaceAll('/', '-'));
}
