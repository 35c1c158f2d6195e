import type { ProgramName } from '../../engine/exported-program.js';

/** A node as far as the names of its outputs go. */
export interface Placed {
  /** Calls of modules in which it stands, the outermost first: a key of their own, and the module's path. */
  readonly calls: readonly { readonly call: string; readonly path: string }[];
  /** Values by name. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** Of a program, as the file writes it. */
const DEEPEST = 64;

/**
 * The calls of modules that a node's `nn_module_stack` tells: `KEY,PATH,CLASS;...`, the outermost first. A key is of
 * one call: the second one of `relu` has the key `L__self___relu@1`.
 */
export function readCalls(stack: string): Placed['calls'] {
  const calls: { call: string; path: string }[] = [];
  let call = '';
  for (const entry of stack.split(';').slice(0, DEEPEST)) {
    const [key = '', path = ''] = entry.split(',', 2);
    // A number that tracing put in by itself stands in no module.
    if (path.startsWith('_empty_nn_module_stack')) continue;
    call += `;${key}`;
    if (path !== '') calls.push({ call, path });
  }
  return calls;
}

/**
 * What each module gives, by the module's path. That is what is computed in one of its calls and read outside of it: of
 * its own tensors a caller sees no others.
 *
 * @param nodes in the order in which they run
 * @param returned what the program returns
 * @returns for each node the names that are given after it, the innermost module's first
 */
export function nameOutputs(nodes: readonly Placed[], returned: ReadonlySet<string>): ProgramName[][] {
  const last = new Map<string, number>();
  const maker = new Map<string, Placed>();
  const escaping = new Map<string, Set<string>>();
  const leave = (value: string, kept: number): void => {
    const calls = maker.get(value)?.calls ?? [];
    for (const { call } of calls.slice(kept)) {
      let values = escaping.get(call);
      if (values === undefined) escaping.set(call, (values = new Set()));
      values.add(value);
    }
  };
  for (const [i, node] of nodes.entries()) {
    for (const { call } of node.calls) last.set(call, i);
    for (const input of node.inputs) {
      const made = maker.get(input);
      if (made === undefined) continue;
      let shared = 0;
      while (shared < made.calls.length && made.calls[shared]!.call === node.calls[shared]?.call) shared++;
      leave(input, shared);
    }
    for (const output of node.outputs) maker.set(output, node);
  }
  for (const value of returned) leave(value, 0);

  const order = new Map<string, number>();
  for (const value of maker.keys()) order.set(value, order.size);
  const names: ProgramName[][] = nodes.map(() => []);
  const depths = new Map<string, { path: string; depth: number }>();
  for (const { calls } of nodes) {
    for (const [depth, { call, path }] of calls.entries()) depths.set(call, { path, depth });
  }
  const inside = [...escaping].map(([call, values]) => ({ call, values, ...depths.get(call)! }));
  for (const { call, values, path } of inside.sort((a, b) => b.depth - a.depth)) {
    const sorted = [...values].sort((a, b) => order.get(a)! - order.get(b)!);
    for (const [element, value] of sorted.entries()) {
      names[last.get(call)!]!.push({ value, path, element: sorted.length === 1 ? -1 : element });
    }
  }
  return names;
}
