/**
 * Counts, in a recorded plan, the runs of the model that the engine will make: nothing here knows a method.
 *
 * @typedef {import('../../dist/engine/plan-description.js').PlanDescription} Plan
 * @typedef {import('../../dist/engine/plan-description.js').BlockDescription} Block
 * @typedef {import('../../dist/engine/plan-description.js').StepDescription} Step
 * @typedef {{ op: 'forward' | 'resume' | 'gradient', perTarget: boolean, loops: { count: number, limited: boolean }[],
 * step: Step, block: Block, isTwice: boolean }} Pass
 *   `loops`: those around it, outermost first. `isTwice`: a gradient of a gradient.
 */

const RUNS = new Set(['forward', 'resume', 'gradient']);
/** Steps that read the class asked for: those of the kind `target` in lib/engine/operations.ts. */
export const READS_TARGET = new Set(['score', 'asked', 'target', 'class_row']);

/**
 * Every run and gradient of a plan. What runs per target is found as native/engine/steps/plan.cc finds it; a loop over
 * samples runs once for all targets, and in it only what depends on the target runs for each.
 *
 * @param {Plan} plan
 * @returns {Pass[]}
 */
export function passesOf(plan) {
  /** @type {Pass[]} */
  const passes = [];
  walk(plan.block, [], new Set(), false, passes);
  return passes;
}

/** @param {Block} block @returns {boolean} */
function readsTarget(block) {
  return block.steps.some(({ op, body }) => READS_TARGET.has(op) || (body !== undefined && readsTarget(body)));
}

/**
 * @param {Block} block
 * @param {Pass['loops']} loops
 * @param {ReadonlySet<number>} parametersPerTarget registers that whoever runs the block fills in for each target
 * @param {boolean} all whether the whole block runs for each target
 * @param {Pass[]} passes
 */
function walk(block, loops, parametersPerTarget, all, passes) {
  const perTarget = new Set(parametersPerTarget);
  const gradients = new Set();
  for (const step of block.steps) {
    const { op, inputs, outputs, body, settings } = step;
    const isOwn =
      READS_TARGET.has(op) ||
      inputs.some((register) => perTarget.has(register)) ||
      (body !== undefined && readsTarget(body));
    if (body !== undefined) {
      const isSampled = op !== 'iterate';
      const own = isSampled
        ? inputs.flatMap((register, i) =>
            perTarget.has(register) && i < body.parameters.length - 1 ? [body.parameters[i] ?? -1] : [],
          )
        : isOwn
          ? body.parameters
          : [];
      walk(
        body,
        [...loops, { count: Number(settings['count']), limited: settings['limited'] === true }],
        new Set(own),
        all || (!isSampled && isOwn),
        passes,
      );
    }
    if (isOwn) for (const register of outputs) perTarget.add(register);
    if (!RUNS.has(op)) continue;
    const isTwice = op === 'gradient' && descends(block, inputs[0] ?? -1, gradients);
    if (op === 'gradient') for (const register of outputs) gradients.add(register);
    const pass = { op: /** @type {Pass['op']} */ (op), perTarget: all || isOwn, loops, step, block, isTwice };
    // A rule that compares runs the image and its baseline.
    passes.push(...(op === 'forward' && settings['rule'] === 'deeplift' ? [pass, pass] : [pass]));
  }
}

/**
 * Whether a value of a block was computed from one of `sources`.
 *
 * @param {Block} block
 * @param {number} register
 * @param {ReadonlySet<number>} sources
 */
function descends(block, register, sources) {
  const wanted = [register];
  const seen = new Set();
  for (let at = wanted.pop(); at !== undefined; at = wanted.pop()) {
    if (sources.has(at)) return true;
    if (seen.has(at)) continue;
    seen.add(at);
    const maker = block.steps.find(({ outputs }) => outputs.includes(/** @type {number} */ (at)));
    if (maker !== undefined) wanted.push(...maker.inputs);
  }
  return false;
}

/**
 * How often a pass runs for one image, and for each of `targets` where it depends on the class.
 * @param {Pass} pass
 * @param {number} targets
 */
export function timesOf({ loops, perTarget }, targets = 1) {
  return loops.reduce((product, { count }) => product * count, perTarget ? targets : 1);
}
