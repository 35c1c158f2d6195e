import { isObject } from '../../support/json.js';
import type { Fields } from './fields.js';
import { printable } from '../refusal.js';

const DEEPEST = 32;

/**
 * The names of what a program returns, as a TorchScript archive has them: a dict's keys, places in a tuple, with dots
 * between them. Null for the one tensor that a program returns alone.
 *
 * @param calls the program's `module_call_graph`, whose first entry tells how its outputs are arranged
 * @param count how many outputs there are
 */
export function outputPaths(calls: Fields, count: number): (string | null)[] {
  const numbered = (): string[] => Array.from({ length: count }, (_, i) => String(i));
  const signature = calls.list()[0]?.at('signature');
  if (signature === undefined || signature.isMissing) return count === 1 ? [null] : numbered();
  const specification = signature.at('out_spec');
  let parsed: unknown;
  try {
    parsed = JSON.parse(specification.text());
  } catch {
    throw specification.wrong('no JSON');
  }
  const found: (string | null)[] = [];
  const walk = (spec: unknown, path: string | null, depth: number): void => {
    if (!isObject(spec) || depth > DEEPEST || found.length > count) throw specification.wrong('no tree of outputs');
    if (spec.type === null) {
      found.push(path);
      return;
    }
    const children = Array.isArray(spec.children_spec) ? (spec.children_spec as unknown[]) : [];
    const keys = keysOf(spec.context, children.length);
    for (const [i, child] of children.entries()) {
      const key = printable(keys?.[i] ?? String(i));
      walk(child, path === null ? key : `${path}.${key}`, depth + 1);
    }
  };
  walk(Array.isArray(parsed) ? parsed[1] : parsed, null, 0);
  if (found.length !== count || new Set(found).size !== count) return count === 1 ? [null] : numbered();
  return found;
}

/** Of a dict, or of Hugging Face's outputs; null for a tuple or a list. */
function keysOf(context: unknown, count: number): string[] | null {
  let read = context;
  if (typeof read === 'string') {
    try {
      read = JSON.parse(read);
    } catch {
      return null;
    }
  }
  const lists = isObject(read) ? Object.values(read) : [read, ...(Array.isArray(read) ? (read as unknown[]) : [])];
  for (const list of lists) {
    if (Array.isArray(list) && list.length === count && list.every((key) => typeof key === 'string')) {
      return list;
    }
  }
  return null;
}
