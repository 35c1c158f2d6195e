import { OPERATIONS } from '../engine/operations.js';
import type { BlockDescription, StepDescription, TapDescription } from '../engine/plan-description.js';

/** Where something of a block is after steps were taken out. */
export interface Sharing {
  readonly register: (register: number) => number;
  readonly step: (step: StepDescription) => StepDescription;
}

/**
 * Takes out steps that compute what an earlier one has: methods that are recorded together, such as the candidates of a
 * search, have much in common. Runs on the same images become one, and gradients of one score one backward pass.
 */
export function shareSteps({ steps }: BlockDescription): Sharing {
  const registers = new Map<number, number>();
  const replaced = new Map<StepDescription, StepDescription>();
  const register = (of: number): number => registers.get(of) ?? of;
  const known = new Map<string, StepDescription>();
  const leaves = new Set(steps.flatMap(({ op, outputs }) => (op === 'variable' ? outputs : [])));
  const places = new Map<StepDescription, number>();
  const makers = new Map<number, number>();
  const kept = steps.filter((step, at) => {
    step.inputs.forEach((input, i) => (step.inputs[i] = register(input)));
    places.set(step, at);
    for (const output of step.outputs) makers.set(output, at);
    const key = keyOf(step, leaves);
    if (key === null) return true;
    const same = known.get(key);
    // A gradient of what is tapped from a later run, which the score does not know, is an error of its own.
    const isEarlier = (input: number): boolean => (makers.get(input) ?? -1) < places.get(same!)!;
    if (same === undefined || (step.op === 'gradient' && !step.inputs.every(isEarlier))) {
      if (same === undefined) known.set(key, step);
      return true;
    }
    replaced.set(step, same);
    for (const [output, of] of joined(same, step)) registers.set(output, of);
    // What the earlier step makes now as well.
    for (const output of step.outputs) makers.set(output, places.get(same)!);
    return false;
  });
  steps.splice(0, steps.length, ...kept);
  return { register, step: (of) => replaced.get(of) ?? of };
}

/** By which steps are alike; null of one that is left alone. */
function keyOf({ op, inputs, settings, body, data }: StepDescription, leaves: ReadonlySet<number>): string | null {
  if (op === 'forward') return JSON.stringify([op, inputs, settings]);
  if (op === 'gradient') {
    // What is tapped from a run was there before the score. A leaf has a backward pass of its own, as it is recorded.
    return inputs.some((input) => leaves.has(input)) ? null : JSON.stringify([op, inputs[0], settings]);
  }
  if (OPERATIONS[op].kind === 'control' || op === 'variable' || body !== undefined || data !== undefined) return null;
  return JSON.stringify([op, inputs, settings]);
}

/** Lets the first step make what the second makes; each output of the second, and the first's that it is now. */
function joined(first: StepDescription, second: StepDescription): [output: number, of: number][] {
  if (second.op === 'forward') {
    return second.taps!.flatMap((tap, i) => addOutput(first, second.outputs[i]!, tapOf(first.taps!, tap)));
  }
  if (second.op === 'gradient') {
    return second.outputs.flatMap((output, i) => {
      const of = second.inputs[i + 1]!;
      const at = first.inputs.indexOf(of, 1) - 1;
      if (at < 0) first.inputs.push(of);
      return addOutput(first, output, at);
    });
  }
  return second.outputs.map((output, i) => [output, first.outputs[i]!]);
}

/** Gives a step one more output, unless it has it: `at` is its place, or below 0. */
function addOutput(step: StepDescription, output: number, at: number): [number, number][] {
  if (at >= 0) return [[output, step.outputs[at]!]];
  step.outputs.push(output);
  return [];
}

/** The place of a tap among a run's; below 0 where it was not, and is added. */
function tapOf(taps: TapDescription[], tap: TapDescription): number {
  const at = taps.findIndex(({ kind, node, site }) => kind === tap.kind && node === tap.node && site === tap.site);
  if (at < 0) taps.push(tap);
  else taps[at]!.gradient ||= tap.gradient;
  return at;
}
