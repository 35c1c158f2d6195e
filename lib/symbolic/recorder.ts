import { SightlineError } from '../support/errors.js';
import type { Inspection } from '../engine/inspection.js';
import { closeGradients } from './closed-forms.js';
import { fuseSteps } from './fused-steps.js';
import { shareSteps } from './shared-steps.js';
import type {
  BlockDescription,
  PlanDescription,
  Setting,
  StepDescription,
  TapDescription,
} from '../engine/plan-description.js';
import { OPERATIONS, type OperationName } from '../engine/operations.js';
import { Value, type Axis, type Block, type Plan, type StepExtras } from './value.js';

/** Frames of these files are the vocabulary itself; the line that a user wants to see lies above them. */
const VOCABULARY = /[/\\]symbolic[/\\][a-z-]+\.(?:js|ts)/;

/** `file:line:column` of the method's code that is running. */
function callSite(): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 24;
  const stack = new Error().stack ?? '';
  Error.stackTraceLimit = limit;
  for (const line of stack.split('\n').slice(1)) {
    if (VOCABULARY.test(line)) continue;
    const place = /\(?((?:file:\/\/)?[^\s()]+:\d+:\d+)\)?$/.exec(line);
    if (place?.[1]) return place[1];
  }
  return '';
}

/** Records one block: a method's body, or a loop's. */
export class BlockRecorder implements Block {
  readonly description: BlockDescription = { registers: 0, steps: [], parameters: [], results: [] };
  /** Outer values that the body reads, with the parameter that carries each. */
  readonly captures: { readonly outer: Value; readonly inner: Value }[] = [];
  /** The gradient step of each score: one backward pass serves all gradients of it with respect to taps. */
  private readonly gradients = new Map<string, StepDescription>();

  constructor(
    readonly plan: PlanRecorder,
    readonly parent: BlockRecorder | null,
  ) {}

  register(): number {
    return this.description.registers++;
  }

  parameter(axes: readonly Axis[]): Value {
    const register = this.register();
    this.description.parameters.push(register);
    return new Value(this, register, axes);
  }

  /** The value as this block can read it: an outer one becomes a parameter. */
  use(value: Value): Value {
    if (value.block === this) return value;
    const known = this.captures.find(({ outer }) => outer === value);
    if (known) return known.inner;
    if (this.parent === null) {
      this.plan.refuse(
        'uses a value that was recorded for another method, another call or within a loop; read it from the model again',
      );
    }
    this.parent.use(value);
    const inner = this.parameter(value.axes);
    this.captures.push({ outer: value, inner });
    return inner;
  }

  step(
    op: OperationName,
    inputs: readonly Value[],
    axes: readonly Axis[],
    settings: Record<string, Setting> = {},
  ): Value {
    return this.steps(op, inputs, [axes], settings)[0]!;
  }

  steps(
    op: OperationName,
    inputs: readonly Value[],
    axesOfOutputs: readonly (readonly Axis[])[],
    settings: Record<string, Setting> = {},
    extra: StepExtras = {},
  ): Value[] {
    const twice = axesOfOutputs.find((axes) => new Set(axes).size < axes.length);
    // Operations find axes by name: of two alike the second would be taken for the first.
    if (twice !== undefined) {
      this.plan.refuse(`makes a value with two axes of one name, [${twice.join(', ')}]; rename one first`);
    }
    const {
      inputs: [least, most],
    } = OPERATIONS[op];
    if (inputs.length < least || inputs.length > most) {
      throw new SightlineError('INTERNAL', `A step '${op}' reads ${least} to ${most} values, not ${inputs.length}.`);
    }
    const used = inputs.map((input) => this.use(input).register);
    const outputs = axesOfOutputs.map((axes) => new Value(this, this.register(), axes));
    this.description.steps.push({
      op,
      inputs: used,
      outputs: outputs.map(({ register }) => register),
      settings,
      where: this.plan.where(),
      ...extra,
    });
    return outputs;
  }

  /** Reads one more thing out of a run of the model. The run was recorded before; taps are added to it as asked for. */
  tap(forward: number, axes: readonly Axis[], tap: Omit<TapDescription, 'gradient'>): Value {
    const step = this.description.steps[forward];
    const taps = step?.taps;
    if (step === undefined || taps === undefined) {
      throw new SightlineError('INTERNAL', 'A tap was asked of a step that does not run the model.');
    }
    const same = taps.findIndex(
      (known) => known.kind === tap.kind && known.node === tap.node && known.site === tap.site,
    );
    if (same >= 0) return new Value(this, step.outputs[same]!, axes, { forward, tap: same });
    taps.push({ ...tap, gradient: false });
    const register = this.register();
    step.outputs.push(register);
    return new Value(this, register, axes, { forward, tap: taps.length - 1 });
  }

  /** A leaf of which gradients can be taken, and of everything computed from it. */
  variable(value: Value): Value {
    const { register, axes } = this.step('variable', [value], value.axes);
    return new Value(this, register, axes, 'variable');
  }

  /** The gradient of a score with respect to a tapped value or a variable, of the same axes. */
  gradient(score: Value, value: Value, differentiable: boolean): Value {
    const origin = value.origin;
    if (origin === null || value.block !== this || score.block !== this) {
      this.plan.refuse(
        'asks for a gradient with respect to a computed value; gradients are taken with respect to what is tapped from the model (features, attention, queries, keys, values, the image), or to a variable, in the block that made it',
      );
    }
    if (differentiable) {
      // Fused operators have no second derivative: runs that are differentiated twice do without them.
      for (const step of this.description.steps) if (step.taps !== undefined) step.settings['smooth'] = true;
    }
    if (origin !== 'variable') this.description.steps[origin.forward]!.taps![origin.tap]!.gradient = true;
    const key = `${score.register} ${differentiable} ${origin === 'variable' ? value.register : 'taps'}`;
    let step = this.gradients.get(key);
    if (step === undefined) {
      step = {
        op: 'gradient',
        inputs: [score.register],
        outputs: [],
        settings: { differentiable },
        where: this.plan.where(),
      };
      this.description.steps.push(step);
      this.gradients.set(key, step);
    }
    const known = step.inputs.indexOf(value.register, 1);
    if (known > 0) return new Value(this, step.outputs[known - 1]!, value.axes);
    step.inputs.push(value.register);
    const register = this.register();
    step.outputs.push(register);
    return new Value(this, register, value.axes);
  }
}

/** Every step, in loops too, that resumes a run. */
function resumedRuns({ steps }: BlockDescription): StepDescription[] {
  return steps.flatMap((step) => [
    ...(step.op === 'resume' ? [step] : []),
    ...(step.body ? resumedRuns(step.body) : []),
  ]);
}

/** Records a method. `current` is the block that operations go to: the method's, or that of the loop being recorded. */
export class PlanRecorder implements Plan {
  readonly root: BlockRecorder;
  current: BlockRecorder;
  private readonly outputs: { name: string; value: number }[] = [];
  private logitsRegister = -1;

  /**
   * `method`: whose steps are recorded, for messages; a plan of several methods names each in its turn. `isTraced`:
   * whether steps know the line of code that asked for them, which costs more than recording them.
   */
  constructor(
    public method: string,
    private readonly isTraced = true,
  ) {
    this.root = new BlockRecorder(this, null);
    this.current = this.root;
  }

  /** The line of code that records; empty where that is not asked for. */
  where(): string {
    return this.isTraced ? callSite() : '';
  }

  /** @throws SightlineError INVALID_OPTION that names the method and the line of its code that asked for this */
  refuse(what: string): never {
    const where = callSite();
    throw new SightlineError('INVALID_OPTION', `${this.method} ${what}${where === '' ? '' : ` (${where})`}.`);
  }

  /** Records a run of the model on `image`; returns its position, of which taps are asked. */
  forward(image: Value, settings: Record<string, Setting>): number {
    this.current.steps('forward', [image], [], settings, { taps: [] });
    return this.current.description.steps.length - 1;
  }

  /**
   * Records what becomes of run `run` of the method's own block when tapped values are replaced; returns its position.
   */
  resume(run: number, replacements: readonly { readonly of: Value; readonly to: Value }[]): number {
    const replaces = replacements.map(({ of }) => {
      const { origin } = of;
      if (origin === null || origin === 'variable' || of.block !== this.root || origin.forward !== run) {
        this.refuse('replaces a value that was not tapped from the run that it resumes');
      }
      const { gradient: _, ...tap } = this.root.description.steps[run]!.taps![origin.tap]!;
      return tap;
    });
    this.current.steps(
      'resume',
      replacements.map(({ to }) => to),
      [],
      { run },
      { taps: [], replaces },
    );
    return this.current.description.steps.length - 1;
  }

  output(name: string, value: Value): void {
    this.outputs.push({ name, value: this.root.use(value).register });
  }

  rankBy(logits: Value): void {
    this.logitsRegister = logits.register;
  }

  /** Records `body` into a block of its own. */
  nested<T>(body: (block: BlockRecorder) => T): { block: BlockRecorder; result: T } {
    const outer = this.current;
    const block = new BlockRecorder(this, outer);
    this.current = block;
    try {
      return { block, result: body(block) };
    } finally {
      this.current = outer;
    }
  }

  /**
   * The recorded plan, with what algebra knows of the model taken out of it. `memory`: bytes that a loop's chunk may
   * take.
   */
  finish(memory: number, inspection: Inspection): PlanDescription {
    // A resumed run is named by its position, which the rewrites move.
    const { steps } = this.root.description;
    const resumed = resumedRuns(this.root.description).map((step) => ({
      step,
      run: steps[step.settings['run'] as number]!,
    }));
    closeGradients(this.root.description, inspection);
    const now = shareSteps(this.root.description);
    const outputs = this.outputs.map(({ name, value }) => ({ name, value: now.register(value) }));
    const logits = now.register(this.logitsRegister);
    fuseSteps(this.root.description, [...outputs.map(({ value }) => value), logits]);
    for (const { step, run } of resumed) step.settings['run'] = steps.indexOf(now.step(run));
    return {
      method: this.method,
      block: this.root.description,
      outputs,
      output: inspection.output,
      logits,
      memory,
    };
  }
}
