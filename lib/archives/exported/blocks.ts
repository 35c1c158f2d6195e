import type { ProgramArgument } from '../../engine/exported-program.js';
import { readArgument } from './arguments.js';
import { valuesIn, type Draft } from './drafts.js';
import type { Fields } from './fields.js';
import { OperatorFault } from './operators.js';

const AUTOCAST = 'wrap_with_autocast';
const GRADIENTS = 'wrap_with_set_grad_enabled';

/** In-place operators end in one underscore. */
export const IN_PLACE = /[^_]_$/;
/** Operators whose result may lie in the memory of their first input. */
const VIEWS_OF_TENSORS = new Set(
  [
    ...['alias', 'chunk', 'contiguous', 'detach', 'diagonal', 'dropout', 'expand', 'expand_as', 'flatten', 'movedim'],
    ...['moveaxis', 'mT', 'narrow', 'numpy_T', 'permute', 'real', 'reshape', 'reshape_as', 'select', 'slice', 'split'],
    ...['split_with_sizes', 'squeeze', 'swapaxes', 'swapdims', 't', 'tensor_split', 'to', 'transpose', 'type_as'],
    ...[
      'unbind',
      'unflatten',
      'unfold',
      'unsafe_chunk',
      'unsafe_split',
      'unsqueeze',
      'view',
      'view_as',
      '_unsafe_view',
    ],
  ].map((name) => `aten::${name}`),
);

type Written = Pick<Draft, 'operator' | 'inputs' | 'outputs'>;

/** The body of a `with` statement, which torch.export writes as a program within the program. */
export interface Block {
  readonly graph: Fields;
  /** Of each input of that graph what the block is given for it. */
  readonly given: readonly ProgramArgument[];
  /** Whether gradients flow through what it computes: not under `torch.no_grad()`. */
  readonly hasGradient: boolean;
}

/**
 * The block that a node stands for; null where it is an operator.
 *
 * @throws OperatorFault for a block in which autocast chooses the precision
 */
export function blockOf(node: Fields): Block | null {
  const name = node.at('target').text().replace('torch.ops.higher_order.', '');
  if (name !== AUTOCAST && name !== GRADIENTS) return null;
  const inputs = node
    .at('inputs')
    .list()
    .map((input) => input.at('arg'));
  const at = inputs.findIndex((input) => input.choice()[0] === 'as_graph');
  // autocast: device, dtype, enabled, cache. Gradients: enabled.
  const flag = inputs[name === AUTOCAST ? 2 : 0];
  if (at < 0 || flag === undefined) throw node.wrong(`the operator ${name} without its graph`);
  const isOn = flag.at('as_bool').bool();
  if (name === AUTOCAST && isOn) {
    throw new OperatorFault(`higher_order::${name}`, 'in which torch.autocast chooses the precision');
  }
  return {
    graph: inputs[at]!.at('as_graph').at('graph'),
    given: inputs.slice(at + 1).map(readArgument),
    hasGradient: name === AUTOCAST || isOn,
  };
}

/** Names of a block's values, and what each stands for in the program around it. */
export class BlockScope {
  private readonly standsFor = new Map<string, ProgramArgument>();
  /** Of the program's values those that the block was given, and views of them. */
  private readonly given = new Set<string>();

  /** @param prefix no other block's */
  constructor(
    private readonly prefix: string,
    readonly hasGradient: boolean,
  ) {}

  give(name: string, argument: ProgramArgument): void {
    this.standsFor.set(name, argument);
    if (argument.kind === 'value') this.given.add(argument.text);
  }

  /**
   * Whether an operator writes into what the block was given, without a gradient: PyTorch then leaves the gradient as
   * if nothing had been written, which no straight graph says.
   */
  writesIntoGiven({ operator, inputs, outputs }: Written): boolean {
    const [self] = inputs[0] === undefined ? [] : valuesIn(inputs[0][1]);
    if (this.hasGradient || self === undefined || !this.given.has(self)) return false;
    if (VIEWS_OF_TENSORS.has(operator)) for (const name of outputs.flat()) if (name !== null) this.given.add(name);
    return IN_PLACE.test(operator);
  }

  /** The name in the program of a value that the block makes. */
  define(name: string): string {
    const known = this.standsFor.get(name);
    if (known?.kind === 'value') return known.text;
    const text = `${this.prefix}${name}`;
    this.standsFor.set(name, { kind: 'value', text });
    return text;
  }

  /** An argument of the block's as one of the program's; null where a value is none of the block's. */
  resolve(argument: ProgramArgument): ProgramArgument | null {
    if (argument.kind === 'value') return this.standsFor.get(argument.text) ?? null;
    if (argument.kind !== 'list') return argument;
    const items = argument.items.map((item) => this.resolve(item));
    return items.includes(null) ? null : { ...argument, items: items as ProgramArgument[] };
  }
}
