import { SightlineError } from '../support/errors.js';
import type { Inspection, NodeInfo } from '../engine/inspection.js';
import { suggestion } from '../support/nearest.js';
import type { Setting, TapKind } from '../engine/plan-description.js';
import { axesOf, inSpace, ownAxesOf } from './layouts.js';
import type { PlanRecorder, BlockRecorder } from './recorder.js';
import type { RunOptions } from './rules.js';
import type { Value, Axis } from './value.js';
import { narrow, sigmoid, softmax, split, stack } from './vocabulary.js';

/** A run of the model on some images, and all that can be read out of it. Reading nothing costs nothing. */
export class Run {
  private readonly block: BlockRecorder;

  /** @internal */
  constructor(
    /** @internal */ readonly model: SymbolicModel,
    /** @internal The step that runs the model. */
    readonly step: number,
    block: BlockRecorder = model.plan.current,
  ) {
    this.block = block;
  }

  /** The images as the model gets them, of which gradients can be taken. */
  get image(): Value {
    return this.tap('image', ['batch', 'channels', 'height', 'width']);
  }

  /** Scores before softmax or sigmoid: [batch, classes]. */
  get logits(): Value {
    return this.tap('logits', ['batch', 'classes']);
  }

  /**
   * Probabilities as the model means its logits: softmax of classes, a sigmoid for each label; a value as it is.
   * [batch, classes].
   */
  get probabilities(): Value {
    return this.model.probabilitiesOf(this.logits);
  }

  /**
   * The score that is explained: [batch]. The logit of the class asked for, unless the request's `score` says
   * otherwise.
   */
  get score(): Value {
    return this.model.explained.of(this);
  }

  /** The output of the model where it is no class scores: [batch, classes, height, width] and its like. */
  get output(): Value {
    const axes = {
      2: ['batch', 'classes'],
      3: ['batch', 'boxes', 'values'],
      4: ['batch', 'classes', 'height', 'width'],
    }[this.model.inspection.outputShape.length];
    if (axes === undefined) {
      throw new SightlineError(
        'METHOD_NOT_APPLICABLE',
        `The model's output, ${this.model.inspection.outputShape.join(' x ')}, has no known axes.`,
      );
    }
    return this.tap('output', axes);
  }

  /**
   * A module's output in its own layout, but patches row by row whatever order the module has them in. `model.spatial`
   * brings it to [batch, channels, height, width].
   */
  feature(name: string): Value {
    const node = this.model.node(name);
    return this.tap(node.grid?.order ? 'patches' : 'node', axesOf(node), { node: node.name });
  }

  /** A module's output as the module gives it. @internal */
  returned(name: string): Value {
    const node = this.model.node(name);
    return this.tap('node', ownAxesOf(node), { node: node.name });
  }

  /** Probabilities of attention `site`, after softmax: [batch, heads, queries, keys]. */
  attention(site: number): Value {
    return this.tap('attention', ['batch', 'heads', 'queries', 'keys'], { site });
  }

  /** All attention, first block first. */
  get attentions(): Value[] {
    return this.model.inspection.attention.map((_, site) => this.attention(site));
  }

  /** Queries, before any scaling: [batch, heads, tokens, channels]. */
  query(site: number): Value {
    return this.tap('query', ['batch', 'heads', 'tokens', 'channels'], { site });
  }

  /** Keys: [batch, heads, tokens, channels]. */
  key(site: number): Value {
    return this.tap('key', ['batch', 'heads', 'tokens', 'channels'], { site });
  }

  /** Values: [batch, heads, tokens, channels]. */
  value(site: number): Value {
    return this.tap('value', ['batch', 'heads', 'tokens', 'channels'], { site });
  }

  /** The residual stream before the attention, which its output is added to: [batch, tokens, channels]. */
  residual(site: number): Value {
    return this.tap('residual', ['batch', 'tokens', 'channels'], { site });
  }

  /** The residual stream after the attention, the sum of that and its output: [batch, tokens, channels]. */
  residualMid(site: number): Value {
    return this.tap('residual-mid', ['batch', 'tokens', 'channels'], { site });
  }

  private tap(kind: TapKind, axes: readonly Axis[], of: { node?: string; site?: number } = {}): Value {
    return this.block.tap(this.step, axes, { kind, ...of });
  }
}

/** The score of a run that is explained: [batch]. */
export interface ScoreOf {
  /** The score of a run: [batch]. */
  readonly of: (run: Run) => Value;
  /** Whether it is the plain logit, or the difference of two. */
  readonly isLogit: boolean;
}

/** How pixels become what the model gets: (value - mean) / std of R, G and B in [0, 1]. */
export interface Normalization {
  /** Mean of each channel. */
  readonly mean: readonly number[];
  /** Standard deviation of each channel. */
  readonly std: readonly number[];
}

/** The model as a method sees it: what `inspect` knows, and values that stand for what a run will give. */
export class SymbolicModel {
  private first: Run | null = null;

  /** @internal */
  constructor(
    /** @internal */ readonly plan: PlanRecorder,
    /** The inspection of the model at this size. */
    readonly inspection: Inspection,
    /** @internal */ readonly explained: ScoreOf = { of: (run) => run.model.scoreIn(run.logits), isLogit: true },
    /** The images, and the run on them, which models that explain other scores of the same images share. */
    private readonly seen: { image: Value | null; run: number | null; ruled: number | null } = {
      image: null,
      run: null,
      ruled: null,
    },
    /** By which a method knows what black and white are to the model. */
    readonly normalization: Normalization = { mean: [0, 0, 0], std: [1, 1, 1] },
  ) {}

  /** The preprocessed images: [batch, channels, height, width]. */
  get image(): Value {
    this.seen.image ??= this.plan.root.step('image', [], ['batch', 'channels', 'height', 'width']);
    return this.seen.image;
  }

  /** Logits as probabilities, or values as they are; see `Run.probabilities`. @internal */
  probabilitiesOf(logits: Value): Value {
    const { scores } = this.inspection;
    if (scores === 'value') return logits;
    return scores === 'classes' ? softmax(logits, 'classes') : sigmoid(logits);
  }

  /** The same model, looking at other images. */
  lookingAt(image: Value): SymbolicModel {
    return new SymbolicModel(
      this.plan,
      this.inspection,
      this.explained,
      { image, run: null, ruled: null },
      this.normalization,
    );
  }

  /** The same model and images, of which another score is explained. @internal */
  explaining(explained: ScoreOf): SymbolicModel {
    return new SymbolicModel(this.plan, this.inspection, explained, this.seen, this.normalization);
  }

  /** The run on the images themselves, shared by everything that reads from it. */
  get output(): Run {
    if (this.first === null) {
      if (this.seen.run === null) {
        if (this.plan.current !== this.plan.root) {
          throw new SightlineError(
            'INVALID_OPTION',
            `${this.plan.method} reads the model's output for the first time inside a loop; read it before, or run the model on the loop's own image.`,
          );
        }
        this.seen.run = this.plan.forward(this.image, {});
      }
      this.first = new Run(this, this.seen.run, this.plan.root);
    }
    return this.first;
  }

  /**
   * A run on the images that tells their scores: a rule changes what flows backwards and no value, so one by a rule
   * will do.
   */
  get scoring(): Run {
    return this.seen.run === null && this.seen.ruled !== null
      ? new Run(this, this.seen.ruled, this.plan.root)
      : this.output;
  }

  /** Another run, such as on a perturbed image in a loop. */
  run(image: Value, { rule, linearGamma = 0, convGamma = 0, baseline }: RunOptions = {}): Run {
    const settings: Record<string, Setting> =
      rule === undefined ? {} : { rule, linear_gamma: linearGamma, convolution_gamma: convGamma };
    if ((rule === 'deeplift') !== (baseline !== undefined)) {
      this.plan.refuse("gives a run by the rule 'deeplift' no baseline, or another run one");
    }
    if (baseline !== undefined && !this.explained.isLogit) {
      throw new SightlineError(
        'INVALID_OPTION',
        `${this.plan.method} shares out differences of logits, so it explains logits only; leave \`score\` out, or use integrated-gradients.`,
      );
    }
    const step = this.plan.forward(baseline === undefined ? image : stack([image, baseline], 'pair'), settings);
    if (rule !== undefined && image === this.seen.image && this.plan.current === this.plan.root) {
      this.seen.ruled ??= step;
    }
    return new Run(this, step);
  }

  /**
   * The run on the images themselves with tapped values replaced: Ablation-CAM, Value Zeroing. Only
   * the operators after them run again.
   *
   * @param replacements `of`: a value tapped from `output`; `to`: of the same axes, or with samples folded into the
   * batch
   */
  resume(replacements: readonly { readonly of: Value; readonly to: Value }[]): Run {
    return new Run(this, this.plan.resume(this.output.step, replacements));
  }

  /** A tensor that is given with the request. */
  given(name: string, axes: readonly Axis[]): Value {
    return this.plan.current.step('given', [], axes, { name });
  }

  /** The class asked for, as a number: [batch]. */
  targetIndex(): Value {
    return this.plan.current.step('target', [], ['batch']);
  }

  /** An attention's output projection: [channels, heads, size]. Its bias is left out. */
  outputProjection(site: number): Value {
    return this.plan.current.step('output_projection', [], ['channels', 'heads', 'size'], { site });
  }

  /** The scale of the layer norm that reads an attention block's sum, `Run.residualMid`: [channels]. */
  normWeight(site: number): Value {
    return this.plan.current.step('norm_weight', [], ['channels'], { site });
  }

  /** The bias that a convolution or a batch norm adds to each channel: [channels]. */
  bias(node: string): Value {
    return this.plan.current.step('bias', [], ['channels'], { node: this.node(node).name });
  }

  /** The node that is the output of an attention's transformer block; null where names do not tell. */
  blockOutput(site: number): string | null {
    const { attention, nodes } = this.inspection;
    const parts = attention[site]!.name.split('.');
    let found: string | null = null;
    for (let length = parts.length; length > 0; length--) {
      const path = parts.slice(0, length).join('.');
      const inside = attention.filter(({ name }) => name === path || name.startsWith(`${path}.`)).length;
      // In a model of one block, everything around holds one attention: a block is numbered.
      if (inside > 1 || (attention.length === 1 && found !== null && !/\d$/.test(path))) break;
      if (nodes.some(({ name, layout, grid }) => name === path && layout === 'tokens' && grid?.order === null)) {
        found = path;
      }
    }
    return found;
  }

  /** The classifier's weights for the target class, where it is linear on a pooled feature: [batch, channels]. */
  headRow(): Value {
    if (!this.explained.isLogit) {
      throw new SightlineError(
        'INVALID_OPTION',
        `${this.plan.method} reads the weights that make the logits, so it explains logits only; leave \`score\` out, or use grad-cam.`,
      );
    }
    const weight = this.plan.current.step('head_weight', [], ['classes', 'channels']);
    return this.plan.current.step('class_row', [weight], ['batch', 'channels']);
  }

  /** The probabilities of the class asked for and of the one it is compared with: [batch, asked]. @internal */
  probabilitiesAsked(probabilities: Value): Value {
    return this.plan.current.step('asked', [probabilities], ['batch', 'asked']);
  }

  /** The score of the target class in a value [batch, classes], less that of the class it is compared with: [batch]. */
  scoreIn(value: Value): Value {
    return this.plan.current.step('score', [value], ['batch']);
  }

  /**
   * One node of the inspection.
   *
   * @throws SightlineError UNKNOWN_NODE with the nearest names
   */
  node(name: string): NodeInfo {
    const { nodes } = this.inspection;
    const found = nodes.find((node) => node.name === name);
    if (found) return found;
    const names = nodes.map((node) => node.name);
    throw new SightlineError('UNKNOWN_NODE', `The model has no layer "${name}". ${suggestion(name, names)}`.trim(), {
      details: { known: names },
    });
  }

  /**
   * A feature (or its gradient) as [batch, channels, height, width]: channels moved forward, class and register tokens
   * dropped, patches laid out in their grid.
   *
   * @throws SightlineError METHOD_NOT_APPLICABLE when the layer has no space.
   */
  spatial(value: Value, layer: string): Value {
    return inSpace(value, this.node(layer), layer);
  }

  /** [batch, keys] of an attention row, without class and register tokens, as [batch, height, width]. */
  patches(row: Value, axis: Axis): Value {
    const grid = this.inspection.tokens;
    if (grid === null) throw new SightlineError('METHOD_NOT_APPLICABLE', 'The model has no grid of patches.');
    return split(narrow(row, axis, grid.prefix, grid.height * grid.width), axis, {
      height: grid.height,
      width: grid.width,
    });
  }
}
