import type { Inspection } from '../engine/inspection.js';
import type { BlockDescription, StepDescription } from '../engine/plan-description.js';

/**
 * Gradients that are known without a backward pass: after an average over space and a linear layer, the gradient of a
 * logit is the class's row of weights, divided by the number of places, at every place. So Grad-CAM, HiResCAM and
 * whatever else reads gradients of the pooled feature costs no more than CAM.
 */
export function closeGradients(block: BlockDescription, { head }: Pick<Inspection, 'head'>): void {
  for (const { body } of block.steps) if (body) closeGradients(body, { head });
  if (head === null) return;
  const makerOf = new Map<number, StepDescription>();
  for (const step of block.steps) for (const output of step.outputs) makerOf.set(output, step);

  const runs = new Set<StepDescription>();
  for (let at = 0; at < block.steps.length; at++) {
    const gradient = block.steps[at]!;
    const run = gradient.op === 'gradient' ? runOfLogit(gradient, makerOf) : null;
    if (run === null || !gradient.inputs.slice(1).every((register) => isPooledFeature(run, register, head.feature))) {
      continue;
    }
    const weight = block.registers++;
    const row = block.registers++;
    const { where } = gradient;
    const steps: StepDescription[] = [
      { op: 'head_weight', inputs: [], outputs: [weight], settings: {}, where },
      { op: 'class_row', inputs: [weight], outputs: [row], settings: {}, where },
      ...gradient.inputs.slice(1).map((feature, i) => ({
        op: 'spread' as const,
        inputs: [row, feature],
        outputs: [gradient.outputs[i]!],
        settings: { axis: head.layout === 'channels-first' ? 1 : -1 },
        where,
      })),
    ];
    block.steps.splice(at, 1, ...steps);
    at += steps.length - 1;
    runs.add(run);
  }
  // A tap that no gradient is taken of any more need not be recorded.
  const differentiated = new Set(
    block.steps.filter(({ op }) => op === 'gradient').flatMap(({ inputs }) => inputs.slice(1)),
  );
  for (const { taps, outputs } of runs) taps!.forEach((tap, i) => (tap.gradient &&= differentiated.has(outputs[i]!)));
}

/**
 * The run of the model whose logit, or difference of two, a gradient is taken of; null where it is of anything else.
 */
function runOfLogit(
  { inputs, settings }: StepDescription,
  makerOf: ReadonlyMap<number, StepDescription>,
): StepDescription | null {
  if (settings['differentiable'] === true) return null;
  const score = makerOf.get(inputs[0]!);
  if (score?.op !== 'score') return null;
  const logits = score.inputs[0]!;
  const run = makerOf.get(logits);
  // A rule is not the gradient, and a run with replaced values starts after them.
  if (run?.op !== 'forward' || run.settings['rule'] !== undefined) return null;
  return run.taps![run.outputs.indexOf(logits)]!.kind === 'logits' ? run : null;
}

function isPooledFeature(run: StepDescription, register: number, feature: string): boolean {
  const tap = run.taps![run.outputs.indexOf(register)];
  return tap?.kind === 'node' && tap.node === feature;
}
