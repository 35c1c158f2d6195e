import { SightlineError } from '../../support/errors.js';
import type { Inspection } from '../../engine/inspection.js';
import { SymbolicModel } from '../../symbolic/index.js';
import { PlanRecorder } from '../../symbolic/recorder.js';

/**
 * A frozen archive's sums of two activations, in order. A transformer block has two, one after its attention and one
 * after its MLP; another number of them means that its blocks are built otherwise.
 */
function sumsOf({ attention, nodes }: Inspection): readonly string[] {
  const sums = nodes.filter(
    ({ name, layout, grid }) => /^residual\[\d+\]$/.test(name) && layout === 'tokens' && grid?.order === null,
  );
  return sums.length === 2 * attention.length ? sums.map(({ name }) => name) : [];
}

function find(model: SymbolicModel, block: number): string | null {
  return model.blockOutput(block) ?? sumsOf(model.inspection)[2 * block + 1] ?? null;
}

/** The node that is the output of an attention's transformer block; that there is one is `hasBlockOutputs`. */
export function blockOutputOf(model: SymbolicModel, block: number): string {
  const name = find(model, block);
  if (name === null) {
    throw new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `The output of attention block ${block} is no node of the model.`,
    );
  }
  return name;
}

/** Whether the output of each attention's transformer block is known. */
export function hasBlockOutputs(inspection: Inspection): string | null {
  const model = new SymbolicModel(new PlanRecorder('inspection'), inspection);
  const lost = inspection.attention.findIndex((_, block) => find(model, block) === null);
  return lost < 0 ? null : `no node of it is the output of the transformer block around attention ${lost}`;
}
