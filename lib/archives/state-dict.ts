import type { Dict, Tensor, Value } from './pickle-values.js';

/**
 * Under which names trainers keep a model's weights beside their own things, the first that is there before the others.
 */
const WRAPPERS = ['state_dict', 'model_state_dict', 'model', 'net', 'ema'] as const;
const DEEPEST_WRAPPER = 3;

/** The weights of a checkpoint by name, and which of several they are. */
export interface StateDict {
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** The keys that lead to it, such as `model`; empty where it is the whole. */
  readonly path: readonly string[];
  /** Keys beside it that hold weights too, such as `ema`. */
  readonly others: readonly string[];
}

/**
 * Finds the weights in what torch.save wrote: the whole of it, or what lies in a trainer's wrapper. Null where there
 * are none.
 */
export function findStateDict(root: Value): StateDict | null {
  let dict: Value | undefined = root;
  const path: string[] = [];
  const others: string[] = [];
  for (let depth = 0; dict?.kind === 'dict' && depth <= DEEPEST_WRAPPER; depth++) {
    const entries: Map<string, Value> = entriesOf(dict);
    const wrapped: string[] = WRAPPERS.filter((name) => holdsTensors(entries.get(name)));
    if (wrapped.length === 0) {
      const tensors = new Map<string, Tensor>();
      for (const [name, value] of entries) if (value.kind === 'tensor') tensors.set(name, value);
      return tensors.size === 0 ? null : { tensors, path, others };
    }
    const [first, ...rest] = wrapped as [string, ...string[]];
    others.push(...rest.map((name) => [...path, name].join('.')));
    path.push(first);
    dict = entries.get(first);
  }
  return null;
}

/** Of a dict, by its names; a name that comes twice has its last value, as in Python. */
function entriesOf(dict: Dict): Map<string, Value> {
  const entries = new Map<string, Value>();
  for (let i = 0; i + 1 < dict.items.length; i += 2) {
    const key = dict.items[i]!;
    if (key.kind === 'string') entries.set(key.value, dict.items[i + 1]!);
  }
  return entries;
}

/** Whether a value is a dict of tensors, or a wrapper around one. */
function holdsTensors(value: Value | undefined, depth = 0): boolean {
  if (value?.kind !== 'dict' || depth > DEEPEST_WRAPPER) return false;
  const entries = entriesOf(value);
  return (
    [...entries.values()].some(({ kind }) => kind === 'tensor') ||
    WRAPPERS.some((name) => holdsTensors(entries.get(name), depth + 1))
  );
}
