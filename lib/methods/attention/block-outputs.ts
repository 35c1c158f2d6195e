import { SightlineError } from '../../errors.js';
import type { Inspection } from '../../inspection.js';
import { SymbolicModel } from '../../symbolic/index.js';
import { PlanRecorder } from '../../symbolic/recorder.js';

/** The node that is the output of an attention's transformer block; that it exists is `hasBlockOutputs`. */
export function blockOutputOf(model: SymbolicModel, block: number): string {
  const name = model.blockOutput(block);
  if (name === null) throw new SightlineError('METHOD_NOT_APPLICABLE', `The output of attention block ${block} is no node of the model.`);
  return name;
}

/** Whether the output of each attention's transformer block is known. */
export function hasBlockOutputs(inspection: Inspection): string | null {
  if (!inspection.hasModuleNames) return 'its archive is frozen and keeps no modules, so it does not say where a transformer block ends; export it without torch.jit.freeze';
  const model = new SymbolicModel(new PlanRecorder('inspection'), inspection);
  const lost = inspection.attention.findIndex((_, block) => model.blockOutput(block) === null);
  return lost < 0 ? null : `no module gives the output of the transformer block around attention ${lost}`;
}
