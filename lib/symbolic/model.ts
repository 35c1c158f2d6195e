import { SightlineError } from '../errors.js';
import type { Inspection, NodeInfo } from '../inspection.js';
import { suggestion } from '../models/nearest.js';
import type { TapKind } from './plan.js';
import { PlanRecorder, type BlockRecorder } from './recorder.js';
import { Value, type Axis } from './value.js';
import { narrow, split, transpose } from './vocabulary.js';

/** A run of the model on some images, and all that can be read out of it. Reading nothing costs nothing. */
export class Run {
  private readonly block: BlockRecorder;
  private readonly forward: number;

  /** @internal */
  constructor(
    private readonly model: SymbolicModel,
    /** The images it runs on: [batch, channels, height, width], preprocessed. */
    image: Value,
  ) {
    this.forward = model.plan.forward(image);
    this.block = model.plan.current;
  }

  /** The images as the model gets them, of which gradients can be taken. */
  get image(): Value {
    return this.tap('image', ['batch', 'channels', 'height', 'width']);
  }

  /** Scores before softmax: [batch, classes]. */
  get logits(): Value {
    return this.tap('logits', ['batch', 'classes']);
  }

  /** The logit of the target class: [batch]. */
  get score(): Value {
    return this.block.plan.current.step('score', [this.logits], ['batch']);
  }

  /** A module's output in its own layout; `model.spatial` brings it to [batch, channels, height, width]. */
  feature(name: string): Value {
    const node = this.model.node(name);
    return this.tap('node', axesOf(node), { node: node.name });
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

  private tap(kind: TapKind, axes: readonly Axis[], of: { node?: string; site?: number } = {}): Value {
    return this.block.tap(this.forward, axes, { kind, ...of });
  }
}

function axesOf(node: NodeInfo): Axis[] {
  switch (node.layout) {
    case 'tokens':
      return ['batch', 'tokens', 'channels'];
    case 'channels-first':
      return ['batch', 'channels', 'height', 'width'];
    case 'channels-last':
      return ['batch', 'height', 'width', 'channels'];
    case 'vector':
      return ['batch', 'channels'];
    default:
      return ['batch', ...node.shape.slice(1).map((_, i) => `axis${i + 1}`)];
  }
}

/** The model as a method sees it: what `inspect` knows, and values that stand for what a run will give. */
export class SymbolicModel {
  private first: Run | null = null;
  private input: Value | null = null;

  /** @internal */
  constructor(
    /** @internal */ readonly plan: PlanRecorder,
    readonly inspection: Inspection,
  ) {}

  /** The preprocessed images: [batch, channels, height, width]. */
  get image(): Value {
    this.input ??= this.plan.root.step('image', [], ['batch', 'channels', 'height', 'width']);
    return this.input;
  }

  /** The run on the images themselves, shared by everything that reads from it. */
  get output(): Run {
    if (this.first === null) {
      if (this.plan.current !== this.plan.root) {
        throw new SightlineError('INVALID_OPTION', `${this.plan.method} reads the model's output for the first time inside a loop; read it before, or run the model on the loop's own image.`);
      }
      this.first = this.run(this.image);
    }
    return this.first;
  }

  /** Another run, such as on a perturbed image in a loop. */
  run(image: Value): Run {
    return new Run(this, image);
  }

  /** The classifier's weights for the target class, where it is linear on a pooled feature: [batch, channels]. */
  headRow(): Value {
    const weight = this.plan.current.step('head_weight', [], ['classes', 'channels']);
    return this.plan.current.step('class_row', [weight], ['batch', 'channels']);
  }

  /** The score of the target class in a value [batch, classes]: [batch]. */
  scoreIn(value: Value): Value {
    return this.plan.current.step('score', [value], ['batch']);
  }

  /** @throws SightlineError UNKNOWN_NODE with the nearest names. */
  node(name: string): NodeInfo {
    const { nodes } = this.inspection;
    const found = nodes.find((node) => node.name === name);
    if (found) return found;
    const names = nodes.map((node) => node.name);
    throw new SightlineError('UNKNOWN_NODE', `The model has no layer "${name}". ${suggestion(name, names)}`.trim(), { details: { known: names } });
  }

  /**
   * A feature (or its gradient) as [batch, channels, height, width]: channels moved forward, prefix tokens dropped,
   * patches laid out in their grid.
   *
   * @throws SightlineError METHOD_NOT_APPLICABLE when the layer has no space.
   */
  spatial(value: Value, layer: string): Value {
    const node = this.node(layer);
    if (node.layout === 'channels-first' && (node.shape[2] ?? 1) * (node.shape[3] ?? 1) > 1) return value;
    if (node.layout === 'channels-last') return transpose(value, ['batch', 'channels', 'height', 'width']);
    if (node.grid !== null) {
      const { height, width, prefix } = node.grid;
      const kept = prefix === 0 ? value : narrow(value, 'tokens', prefix, height * width);
      return transpose(split(kept, 'tokens', { height, width }), ['batch', 'channels', 'height', 'width']);
    }
    throw new SightlineError('METHOD_NOT_APPLICABLE', `The layer "${layer}" has no spatial axes: its output is ${node.shape.join(' x ')}; choose one that \`sightline inspect\` shows with a grid.`);
  }

  /** [batch, keys] of an attention row, without its prefix tokens, as [batch, height, width]. */
  patches(row: Value, axis: Axis): Value {
    const grid = this.inspection.tokens;
    if (grid === null) throw new SightlineError('METHOD_NOT_APPLICABLE', 'The model has no grid of patches.');
    return split(narrow(row, axis, grid.prefix, grid.height * grid.width), axis, { height: grid.height, width: grid.width });
  }
}
