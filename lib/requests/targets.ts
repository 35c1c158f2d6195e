import { cut, shown } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import { suggestion } from '../support/nearest.js';

/**
 * One class: its index, its label, or `rankK` for the class of rank K of each image (`rank1`: the predicted). A whole
 * number is the index, also as text, though a label may read the same.
 */
export type ClassName = number | string;

/**
 * The target to explain: a class, `topK` for the K best classes of each image (`top1`: the predicted), or by how much
 * one class is preferred to another.
 */
export type Target = ClassName | { readonly of: ClassName; readonly against: ClassName };

/** Each is a map as large as the image, and those of one image are made together. */
export const MOST_TARGETS = 4096;

/** @throws SightlineError INVALID_OPTION */
export function checkTargetCount(count: number): void {
  if (count <= MOST_TARGETS) return;
  throw new SightlineError(
    'INVALID_OPTION',
    `${count.toLocaleString('en-US')} targets are asked for, and one call takes at most ${MOST_TARGETS.toLocaleString('en-US')} for an image; make several calls.`,
  );
}

/**
 * A target as the engine takes it: class indices, -r for the class of rank r; `against` is null where nothing is
 * subtracted.
 */
export interface ResolvedTarget {
  readonly of: number;
  readonly against: number | null;
}

/**
 * Targets as the engine takes them. `top3` becomes three.
 *
 * @throws SightlineError UNKNOWN_TARGET or INVALID_OPTION
 */
export function resolveTargets(targets: readonly Target[], labels: readonly string[]): ResolvedTarget[] {
  if (targets.length === 0) {
    throw new SightlineError(
      'INVALID_OPTION',
      'The list of targets is empty; name a class, or leave it out for the predicted one.',
    );
  }
  if (labels.length === 0) {
    throw new SightlineError(
      'UNKNOWN_TARGET',
      'The model scores no classes of the image; name { mask: class } or { box: n }, where it returns masks or boxes.',
    );
  }
  checkTargetCount(targets.length);
  const resolved = targets.flatMap((target): ResolvedTarget[] => {
    if (typeof target !== 'object' || target === null) {
      return resolveClasses(target, labels).map((of) => ({ of, against: null }));
    }
    const of = resolveOne(target.of, labels);
    const against = resolveOne(target.against, labels);
    if (of === against) {
      throw new SightlineError(
        'INVALID_OPTION',
        `The target compares the class ${shown(target.of)} with itself; name two different classes.`,
      );
    }
    return [{ of, against }];
  });
  // `top1000` stands for many.
  checkTargetCount(resolved.length);
  return resolved;
}

function resolveOne(name: ClassName, labels: readonly string[]): number {
  const classes = resolveClasses(name, labels);
  if (classes.length !== 1) {
    throw new SightlineError(
      'INVALID_OPTION',
      `${shown(name)} stands for ${classes.length} classes, and a difference is between two; use rank1, rank2 and so on.`,
    );
  }
  return classes[0]!;
}

/** @throws SightlineError UNKNOWN_TARGET, INVALID_OPTION */
export function resolveClasses(target: ClassName, labels: readonly string[]): number[] {
  const classes = labels.length;
  if (typeof target === 'number') {
    if (!Number.isInteger(target) || target < 0 || target >= classes) {
      throw new SightlineError(
        'UNKNOWN_TARGET',
        `There is no class ${target}: the model has ${classes}, numbered from 0 to ${classes - 1}.`,
      );
    }
    return [target];
  }
  if (typeof target !== 'string') {
    throw new SightlineError(
      'INVALID_OPTION',
      `A target is a class index, a label, topK, or { of, against }, not ${shown(target)}.`,
    );
  }

  const wanted = target.trim().toLowerCase();
  if (/^\d+$/.test(wanted) && Number(wanted) < classes) return [Number(wanted)];
  const found = labels.flatMap((label, index) => (label.toLowerCase() === wanted ? [index] : []));
  // ImageNet has two cardigans (a dog and a garment), two cranes and two maillots.
  if (found.length > 1) {
    throw new SightlineError(
      'UNKNOWN_TARGET',
      `"${cut(target)}" is the label of the classes ${found.join(' and ')}; ask for one of them by its number.`,
    );
  }
  if (found.length === 1) return found;
  const ranked = /^(top|rank)-?(\d+)$/.exec(wanted);
  if (ranked) {
    const rank = Number(ranked[2]);
    if (rank < 1 || rank > classes) {
      throw new SightlineError(
        'UNKNOWN_TARGET',
        `${cut(target)} asks for ${ranked[1] === 'top' ? `${rank} classes` : `the class of rank ${rank}`}; the model has ${classes}.`,
      );
    }
    return ranked[1] === 'rank' ? [-rank] : Array.from({ length: rank }, (_, i) => -(i + 1));
  }
  if (/^\d+$/.test(wanted)) return resolveClasses(Number(wanted), labels);
  throw new SightlineError(
    'UNKNOWN_TARGET',
    `The model has no class "${cut(target)}". ${suggestion(target, labels)}`.trim(),
  );
}

/** What to know of labels that read like the index of another class; null where there are none. */
export function ambiguityOf(labels: readonly string[]): string | null {
  const index = labels.findIndex(
    (label, i) => /^\d+$/.test(label.trim()) && Number(label) !== i && Number(label) < labels.length,
  );
  if (index < 0) return null;
  return `"${cut(labels[index]!)}" is the label of class ${index}, but as a target ${labels[index]!.trim()} is the class with that number: numbers are indices, whatever the labels say.`;
}
