import { SightlineError } from './errors.js';
import { suggestion } from './models/nearest.js';

/** The class to explain: its index, its label, or `topK` for the K best classes of each image (`top1`: the predicted). */
export type Target = number | string;

/**
 * Targets as the engine takes them: class indices, and -r for the class of rank r. `top3` becomes three.
 *
 * @throws SightlineError UNKNOWN_TARGET or INVALID_OPTION
 */
export function resolveTargets(targets: readonly Target[], labels: readonly string[]): number[] {
  if (targets.length === 0) throw new SightlineError('INVALID_OPTION', 'The list of targets is empty; name a class, or leave it out for the predicted one.');
  return targets.flatMap((target) => resolveTarget(target, labels));
}

function resolveTarget(target: Target, labels: readonly string[]): number[] {
  const classes = labels.length;
  if (typeof target === 'number') {
    if (!Number.isInteger(target) || target < 0 || target >= classes) {
      throw new SightlineError('UNKNOWN_TARGET', `There is no class ${target}: the model has ${classes}, numbered from 0 to ${classes - 1}.`);
    }
    return [target];
  }
  if (typeof target !== 'string') throw new SightlineError('INVALID_OPTION', `A target is a class index, a label or topK, not ${JSON.stringify(target)}.`);

  const wanted = target.trim().toLowerCase();
  const found = labels.flatMap((label, index) => (label.toLowerCase() === wanted ? [index] : []));
  // ImageNet has two cardigans (a dog and a garment), two cranes and two maillots.
  if (found.length > 1) throw new SightlineError('UNKNOWN_TARGET', `"${target}" is the label of the classes ${found.join(' and ')}; ask for one of them by its number.`);
  if (found.length === 1) return found;
  const rank = /^top-?(\d+)$/.exec(wanted);
  if (rank) {
    const count = Number(rank[1]);
    if (count < 1 || count > classes) throw new SightlineError('UNKNOWN_TARGET', `${target} asks for ${count} classes; the model has ${classes}.`);
    return Array.from({ length: count }, (_, i) => -(i + 1));
  }
  if (/^\d+$/.test(wanted)) return resolveTarget(Number(wanted), labels);
  throw new SightlineError('UNKNOWN_TARGET', `The model has no class "${target}". ${suggestion(target, labels)}`.trim());
}
