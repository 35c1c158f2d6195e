import type { OperationName } from '../engine/operations.js';
import type { BlockDescription, StepDescription } from '../engine/plan-description.js';

/**
 * Joins steps that the engine does in one pass over memory: the mean over one axis of what is positive in a product,
 * which gradient rollout and GAE take of every block's attention and its gradient.
 */
export function fuseSteps(block: BlockDescription, kept: readonly number[]): void {
  for (const { body } of block.steps) if (body) fuseSteps(body, body.results);
  const makerOf = new Map<number, StepDescription>();
  const uses = new Map<number, number>();
  const count = (register: number): void => void uses.set(register, (uses.get(register) ?? 0) + 1);
  kept.forEach(count);
  for (const step of block.steps) {
    for (const output of step.outputs) makerOf.set(output, step);
    step.inputs.forEach(count);
  }
  const fused = new Set<StepDescription>();
  for (const [at, mean] of block.steps.entries()) {
    const axes = mean.op === 'mean' ? (mean.settings['axes'] as readonly number[]) : [];
    const relu = axes.length === 1 ? onlyMaker('relu', mean, makerOf, uses) : null;
    const product = relu === null ? null : onlyMaker('mul', relu, makerOf, uses);
    if (relu === null || product === null) continue;
    fused.add(relu).add(product);
    block.steps[at] = {
      op: 'mean_positive_product',
      inputs: product.inputs,
      outputs: mean.outputs,
      settings: { axis: axes[0]! },
      where: mean.where,
    };
  }
  if (fused.size > 0) block.steps.splice(0, block.steps.length, ...block.steps.filter((step) => !fused.has(step)));
}

/** The step that makes what another reads first, if it is of this kind and nobody else reads that. */
function onlyMaker(
  op: OperationName,
  { inputs }: StepDescription,
  makerOf: ReadonlyMap<number, StepDescription>,
  uses: ReadonlyMap<number, number>,
): StepDescription | null {
  const maker = makerOf.get(inputs[0]!);
  return maker?.op === op && uses.get(inputs[0]!) === 1 ? maker : null;
}
