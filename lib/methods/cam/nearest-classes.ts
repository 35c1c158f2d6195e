import { abs, neg, oneHot, sum, top, where, type SymbolicModel, type Value } from '../../symbolic/index.js';

/**
 * The classes whose logits lie nearest to that of the class asked for, at most `most`: their numbers, [batch, rank].
 */
export function nearestClasses(model: SymbolicModel, most: number): Value {
  const { logits } = model.output;
  const { classes } = model.inspection;
  const isAsked = oneHot(model.targetIndex(), 'classes', classes);
  const own = sum(logits.mul(isAsked), 'classes');
  // The class itself is the farthest of all.
  const distance = where(isAsked, Infinity, abs(logits.sub(own)));
  return top(neg(distance), Math.min(most, classes - 1)).indices;
}
