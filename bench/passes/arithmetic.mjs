/**
 * What the passes of a plan cost in arithmetic and in activations, by what `inspect` counted in the graph.
 *
 * @typedef {import('./count.mjs').Pass} Pass
 * @typedef {import('../../dist/engine/plan-description.js').TapDescription} Tap
 * @typedef {import('../../dist/engine/inspection.js').Inspection} Inspection
 * @typedef {{ flops: number, bytes: number }} Cost
 */
import { timesOf } from './count.mjs';

/** @param {Cost} a @param {Cost} b @param {number} sign @returns {Cost} */
const sum = (a, b, sign = 1) => ({ flops: a.flops + sign * b.flops, bytes: a.bytes + sign * b.bytes });
const NOTHING = { flops: 0, bytes: 0 };

/**
 * The operators after a tapped value.
 * @param {Inspection} inspection
 * @param {Pick<Tap, 'kind' | 'node' | 'site'>} tap
 * @returns {Cost}
 */
export function after(inspection, { kind, node, site }) {
  const cost = (/** @type {{ flopsAfter: number | null, bytesAfter: number }} */ { flopsAfter, bytesAfter }) => ({
    flops: flopsAfter ?? NaN,
    bytes: bytesAfter,
  });
  if (kind === 'logits' || kind === 'output') return NOTHING;
  if (kind === 'image') return whole(inspection);
  if (kind === 'node') {
    return cost(
      /** @type {import('../../dist/engine/inspection.js').NodeInfo} */ (
        inspection.nodes.find(({ name }) => name === node)
      ),
    );
  }
  const attention = /** @type {import('../../dist/engine/inspection.js').AttentionInfo} */ (
    inspection.attention[site ?? -1]
  );
  if (kind !== 'residual-mid' && kind !== 'residual') return cost(attention);
  // The sum after an attention is read by the block's next layer norm: the same operators come after both.
  const norms = inspection.nodes.filter(
    ({ operator, flopsAfter }) => operator === 'layer_norm' && (flopsAfter ?? NaN) < (attention.flopsAfter ?? NaN),
  );
  return norms.map(cost).reduce((most, next) => (next.flops > most.flops ? next : most), NOTHING);
}

/** @param {Inspection} inspection @returns {Cost} */
export const whole = ({ flops, activationBytes }) => ({ flops: flops ?? NaN, bytes: activationBytes });

/** @param {readonly Cost[]} costs @param {(a: number, b: number) => number} pick */
function extreme(costs, pick) {
  return costs.reduce((best, next) => (pick(best.flops, next.flops) === next.flops ? next : best));
}

/**
 * One pass. A run ends at the last thing that is read of it, a gradient leads from the score to the earliest value that
 * it is taken of: at least one product for each that the run took on the way (two in attention, of which one is
 * counted).
 *
 * @param {Pass} pass
 * @param {Inspection} inspection
 * @returns {Cost}
 */
export function costOf({ op, step, block }, inspection) {
  const taps = (step.taps ?? []).map((tap) => after(inspection, tap));
  const end = taps.length === 0 ? NOTHING : extreme(taps, Math.min);
  if (op === 'forward') return sum(whole(inspection), end, -1);
  if (op === 'resume') {
    return sum(
      extreme(
        (step.replaces ?? []).map((tap) => after(inspection, tap)),
        Math.max,
      ),
      end,
      -1,
    );
  }

  // Back from the score: through runs that were resumed, to what was read of the run that the gradient is taken in.
  const makerOf = (/** @type {number} */ register) => block.steps.find(({ outputs }) => outputs.includes(register));
  const asked = step.inputs.slice(1).flatMap((register) => {
    const run = makerOf(register);
    const tap = run?.taps?.[run.outputs.indexOf(register)];
    return run && tap ? [{ run, cost: after(inspection, tap) }] : [];
  });
  if (asked.length === 0) return NOTHING;
  const runs = new Set(asked.map(({ run }) => run));
  let through = NOTHING;
  /** @type {Cost[]} */
  const ends = [];
  const seen = new Set();
  const wanted = [step.inputs[0] ?? -1];
  for (let register = wanted.pop(); register !== undefined; register = wanted.pop()) {
    const maker = makerOf(register);
    if (maker === undefined) continue;
    const tap = maker.taps?.[maker.outputs.indexOf(register)];
    if (tap && runs.has(maker)) {
      ends.push(after(inspection, tap));
      continue;
    }
    if (seen.has(maker)) continue;
    seen.add(maker);
    if (maker.op === 'resume') {
      through = sum(
        through,
        costOf({ op: 'resume', step: maker, block, perTarget: false, loops: [], isTwice: false }, inspection),
      );
    }
    wanted.push(...maker.inputs);
  }
  const back = sum(
    extreme(
      asked.map(({ cost }) => cost),
      Math.max,
    ),
    ends.length === 0 ? NOTHING : extreme(ends, Math.min),
    -1,
  );
  return sum(through, back.flops > 0 ? back : NOTHING);
}

/**
 * A whole explanation of one image for `targets` classes.
 *
 * @param {readonly Pass[]} passes
 * @param {Inspection} inspection
 */
export function total(passes, inspection, targets = 1) {
  return passes.reduce((all, pass) => {
    const { flops, bytes } = costOf(pass, inspection);
    const times = timesOf(pass, targets);
    return sum(all, { flops: times * flops, bytes: times * bytes });
  }, NOTHING);
}
