import { SightlineError } from '../support/errors.js';
import type { Naming } from '../models/card.js';
import type { SkeletonCard } from '../models/catalog.js';
import type { Assignment, TensorPart, WeightPlan } from '../engine/weight-plan.js';
import { keyMap, namingsOf, type Place } from './key-maps.js';

const FLOATS = new Set(['F64', 'F32', 'F16', 'BF16']);
const NAMED = 3;

interface Source extends TensorPart {
  readonly key: string;
}

export interface WeightPlanOptions {
  /** Of the checkpoint's configuration (Hugging Face's `layer_norm_eps`), where it has one. */
  readonly layerNormEps?: number | undefined;
}

/**
 * Finds a tensor of the checkpoint for every tensor of the skeleton. How many classes there are and, for transformers,
 * how many tokens, the checkpoint says; all other lengths must be the skeleton's.
 *
 * @param headers of the files, in their order
 * @param naming `auto` takes the one by which most tensors find their place
 * @throws SightlineError INVALID_WEIGHTS that names the missing, extra or misshapen tensors, a few of each
 */
export function planWeights(
  skeleton: SkeletonCard,
  files: readonly string[],
  headers: readonly ReadonlyMap<string, TensorPart>[],
  naming: Naming | 'auto',
  options: WeightPlanOptions = {},
): WeightPlan {
  const from = files.length === 1 ? files[0]! : `${files[0] ?? 'no file'} and ${files.length - 1} more`;
  const found = collect(files, headers);
  const chosen = naming === 'auto' ? detectNaming(skeleton, found.keys(), from) : naming;
  const known = namingsOf(skeleton.architecture);
  if (!known.includes(chosen)) {
    throw invalid(
      `${from} has ${chosen}'s names, by which checkpoints of ${skeleton.architecture} cannot be read; those of ${known.join(' and ')} can.`,
    );
  }
  const { sources, extra } = assign(skeleton, found, chosen, from);
  const missing: string[] = [];
  const misshapen: string[] = [];
  const assignments: Assignment[] = [];
  const bound: Bound = {};
  for (const [name, wanted] of Object.entries(skeleton.tensors)) {
    const parts = sources.get(name);
    if (parts === undefined) {
      missing.push(name);
      continue;
    }
    const absent = parts.indexOf(undefined);
    if (absent >= 0) {
      missing.push(`the ${['query', 'key', 'value'][absent]} of ${name}`);
      continue;
    }
    const complete = parts as Source[];
    const shape = joinedShape(complete);
    const fitted = shape && fit(shape, wanted, bound);
    const odd = complete.find(({ dtype }) => !FLOATS.has(dtype));
    if (fitted === null) {
      misshapen.push(
        `${complete[0]!.key} is [${complete.map(({ shape: each }) => each.join(', ')).join('] and [')}], [${expected(wanted, bound)}] is expected`,
      );
    } else if (odd !== undefined) {
      misshapen.push(`${odd.key} is of dtype ${odd.dtype}, a floating-point one is expected`);
    } else {
      assignments.push({ name, shape: fitted, parts: complete.map(({ key: _, ...part }) => part) });
    }
  }
  const faults = [
    several(missing, 'tensor is missing', 'tensors are missing'),
    several(misshapen, 'tensor does not fit', 'tensors do not fit'),
    several(extra, 'tensor is not of this architecture', 'tensors are not of this architecture'),
  ].filter((fault) => fault !== null);
  if (faults.length > 0) {
    throw new SightlineError(
      'INVALID_WEIGHTS',
      `${from} does not fit ${skeleton.architecture} by ${chosen}'s names: ${faults.join('; ')}; check that it is a checkpoint of this architecture.`,
      { details: { missing, misshapen, extra, naming: chosen } },
    );
  }
  const { layerNormEps } = options;
  // transformers' ConvNeXt has its configuration's epsilon in the last norm only; the skeleton's is kept in all.
  const isOther =
    layerNormEps !== undefined &&
    skeleton.layerNormEps !== undefined &&
    layerNormEps !== skeleton.layerNormEps &&
    !skeleton.architecture.includes('convnext');
  return { files, assignments, ...(isOther && { layerNormEps }) };
}

/**
 * The naming by which most tensors of a checkpoint find a place in the skeleton.
 *
 * @throws SightlineError INVALID_WEIGHTS where not one does
 */
export function detectNaming(skeleton: SkeletonCard, keys: Iterable<string>, from: string): Naming {
  const all = [...keys];
  let best: Naming | null = null;
  let most = 0;
  for (const naming of namingsOf(skeleton.architecture)) {
    const places = new Set<string>();
    for (const target of keyMap(skeleton.architecture, naming, all).values()) {
      if (target && Object.hasOwn(skeleton.tensors, target.name)) places.add(target.name);
    }
    if (places.size > most) [best, most] = [naming, places.size];
  }
  if (best === null) {
    throw invalid(
      `${from} is no checkpoint of ${skeleton.architecture}: none of its ${all.length} tensors (${all.slice(0, NAMED).join(', ')}) has a name that timm, torchvision or Hugging Face gives there.`,
    );
  }
  return best;
}

function collect(files: readonly string[], headers: readonly ReadonlyMap<string, TensorPart>[]): Map<string, Source> {
  const found = new Map<string, Source>();
  for (const header of headers) {
    for (const [key, part] of header) {
      const before = found.get(key);
      if (before !== undefined) {
        throw invalid(
          `${files[before.file]} and ${files[part.file]} both hold ${key}; give the files of one checkpoint.`,
        );
      }
      found.set(key, { ...part, key });
    }
  }
  return found;
}

/** Sources by the skeleton's names, in the order in which they are joined. */
function assign(
  skeleton: SkeletonCard,
  found: ReadonlyMap<string, Source>,
  naming: Naming,
  from: string,
): { sources: Map<string, (Source | undefined)[]>; extra: string[] } {
  const sources = new Map<string, (Source | undefined)[]>();
  const extra: string[] = [];
  const unused = new Set(skeleton.unused);
  for (const [key, target] of keyMap(skeleton.architecture, naming, found.keys())) {
    if (target === null || (target && unused.has(target.name))) continue;
    if (target === undefined || !Object.hasOwn(skeleton.tensors, target.name)) {
      extra.push(key);
      continue;
    }
    const parts = partsOf(sources, target);
    const before = parts[target.part];
    if (before !== undefined) throw invalid(`${from} has ${target.name} twice, as ${before.key} and as ${key}.`);
    parts[target.part] = found.get(key)!;
  }
  return { sources, extra };
}

function partsOf(sources: Map<string, (Source | undefined)[]>, { name, parts }: Place): (Source | undefined)[] {
  let list = sources.get(name);
  if (list === undefined) sources.set(name, (list = Array.from({ length: parts }, () => undefined)));
  return list;
}

/** Of tensors that are joined along axis 0; null where they cannot be. */
function joinedShape(parts: readonly Source[]): number[] | null {
  const [first, ...others] = parts.map(({ shape }) => shape);
  if (others.length === 0) return [...first!];
  if (
    others.some(
      (shape) =>
        shape.length !== first!.length ||
        shape.length === 0 ||
        shape.some((length, axis) => axis > 0 && length !== first![axis]),
    )
  ) {
    return null;
  }
  return [others.reduce((sum, shape) => sum + shape[0]!, first![0]!), ...first!.slice(1)];
}

/** What the checkpoint has said of the lengths that it decides. */
type Bound = { classes?: number; tokens?: number };

/**
 * The shape in numbers; null where it is another. Axes of one place do not count (torchvision's layer scale is [C, 1,
 * 1]).
 */
function fit(
  shape: readonly number[],
  wanted: readonly (number | 'classes' | 'tokens')[],
  bound: Bound,
): number[] | null {
  if (shape.length !== wanted.length) {
    const numbers = wanted.filter((length) => typeof length === 'number');
    const isSame =
      numbers.length === wanted.length &&
      String(shape.filter((length) => length !== 1)) === String(numbers.filter((length) => length !== 1));
    return isSame ? numbers : null;
  }
  const said: Bound = { ...bound };
  for (const [axis, length] of shape.entries()) {
    const want = wanted[axis]!;
    if ((typeof want === 'number' ? want : (said[want] ??= length)) !== length || length < 1) return null;
  }
  Object.assign(bound, said);
  return [...shape];
}

function expected(wanted: readonly (number | 'classes' | 'tokens')[], bound: Bound): string {
  return wanted.map((length) => (typeof length === 'number' ? length : (bound[length] ?? length))).join(', ');
}

/** `2 tensors are missing (a, b)`; null for none. */
function several(names: readonly string[], one: string, many: string): string | null {
  if (names.length === 0) return null;
  const shown = names.slice(0, NAMED).map((name) => (name.length > 160 ? `${name.slice(0, 157)}...` : name));
  return `${names.length} ${names.length === 1 ? one : many} (${shown.join(', ')}${names.length > NAMED ? ', ...' : ''})`;
}

function invalid(message: string): SightlineError {
  return new SightlineError('INVALID_WEIGHTS', message);
}
