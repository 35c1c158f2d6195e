import type { ExportedProgram, ProgramArgument, ProgramTensor } from '../../engine/exported-program.js';
import { SightlineError } from '../../support/errors.js';
import { printable } from '../refusal.js';
import { readArgument, readDtype } from './arguments.js';
import { blockOf, BlockScope, type Block } from './blocks.js';
import { inputsOf, outputsOf, valuesIn, type Draft, type TensorFacts, type Described } from './drafts.js';
import type { Fields } from './fields.js';
import { nameOutputs, readCalls } from './names.js';
import { findOperator, OperatorFault } from './operators.js';
import { outputPaths } from './output-paths.js';
import { recompose } from './recompose.js';
import { readLengths, readSizes, type ImageSizes } from './sizes.js';
import type { StoredTensor } from './tensors.js';

/** More than any classifier has; each becomes an object of the engine's. */
const MOST_NODES = 100_000;
/** Blocks within blocks. */
const DEEPEST = 16;
/** Of schema 8, which torch 2.6 and all later releases write. */
export const SCHEMA = 8;

/** Where a program's tensors lie, by their names. */
export interface Stored {
  readonly weights: ReadonlyMap<string, StoredTensor>;
  readonly constants: ReadonlyMap<string, StoredTensor>;
}

/** A program without the file that its weights lie in, and the images that it is for. */
export interface ReadProgram {
  readonly program: Omit<ExportedProgram, 'file'>;
  readonly sizes: ImageSizes;
}

/**
 * Reads `model.json`: checks that each operator is given only what stands before it, and finds the names of all
 * modules' outputs.
 *
 * @param path of the file, for messages
 * @throws SightlineError UNTRUSTED_ARCHIVE for what no torch.export writes, UNSUPPORTED_MODEL for what cannot be run
 */
export function readProgram(root: Fields, stored: Stored, path: string): ReadProgram {
  return new Reader(root, stored, path).read();
}

class Reader {
  private readonly known = new Set<string>();
  private readonly tensors: ProgramTensor[] = [];
  private readonly drafts: Draft[] = [];
  /** What the file says of each value. */
  private readonly described = new Map<string, Fields>();
  private blocks = 0;
  private image: string | null = null;

  constructor(
    private readonly root: Fields,
    private readonly stored: Stored,
    private readonly path: string,
  ) {}

  read(): ReadProgram {
    const module = this.root.at('graph_module');
    const graph = module.at('graph');
    const signature = module.at('signature');
    for (const spec of signature.at('input_specs').list()) this.readInput(spec);
    if (this.image === null) {
      throw this.unsupported('takes no image tensor; export a module whose forward(x) takes [N, 3, H, W]');
    }
    const values = graph.at('tensor_values');
    for (const [name, said] of values.entries()) this.described.set(name, said);
    const input = this.described.get(this.image);
    if (input === undefined) throw values.wrong(`nothing about its input ${printable(this.image)}`);
    const sizes = readSizes(input, this.root);
    if (sizes === null) {
      throw this.unsupported('takes no images [N, 3, H, W]; export a module whose forward(x) takes such a tensor');
    }
    if (sizes.batch !== null && sizes.batch !== 1) {
      throw this.unsupported(
        `was exported for batches of ${sizes.batch} images alone; give torch.export.export dynamic_shapes=({0: torch.export.Dim('batch')},), or an example of one image`,
      );
    }
    this.readNodes(graph, null, 0);
    const outputs = this.readOutputs(signature, module.at('module_call_graph'));
    const returned = outputs.map(({ value }) => value);
    const drafts = recompose(this.drafts, factsFrom(this.described), returned);
    const names = nameOutputs(
      drafts.map((draft) => ({ calls: draft.calls, inputs: inputsOf(draft), outputs: outputsOf(draft) })),
      new Set(returned),
    );
    return {
      program: {
        image: this.image,
        tensors: this.tensors,
        nodes: drafts.map(({ calls, ...node }, i) => ({
          ...node,
          scope: printable(calls.at(-1)?.path ?? ''),
          names: names[i]!,
        })),
        outputs,
        isForOneImage: sizes.batch === 1,
      },
      sizes,
    };
  }

  private readInput(spec: Fields): void {
    const [kind, said] = spec.choice();
    const { weights, constants } = this.stored;
    switch (kind) {
      case 'user_input': {
        const [of, value] = said.at('arg').choice();
        if (of === 'as_none') return;
        if (of !== 'as_tensor' || this.image !== null) {
          throw this.unsupported(
            'takes more than one image tensor; export a wrapper whose forward(x) takes one image tensor',
          );
        }
        this.image = value.at('name').text();
        this.define(this.image, value);
        return;
      }
      case 'parameter':
        return this.readTensor(said, said.at('parameter_name').text(), 'parameter', weights);
      case 'buffer': {
        const persistent = said.at('persistent');
        const isPersistent = persistent.isMissing || persistent.bool();
        return this.readTensor(said, said.at('buffer_name').text(), 'buffer', isPersistent ? weights : constants);
      }
      case 'tensor_constant':
        return this.readTensor(said, said.at('tensor_constant_name').text(), 'buffer', constants);
      case 'constant_input':
        // A number or a word that forward was called with: it is written into the operators.
        return;
      default:
        throw this.unsupported(`takes an input of the kind ${printable(kind)}, which no image classifier needs`);
    }
  }

  private readTensor(
    said: Fields,
    name: string,
    kind: ProgramTensor['kind'],
    stored: ReadonlyMap<string, StoredTensor>,
  ): void {
    const found = stored.get(name);
    if (found === undefined) throw said.wrong(`the tensor ${printable(name)}, which the file does not hold`);
    if (!/^[^.]+(?:\.[^.]+){0,63}$/.test(name)) throw said.wrong(`the tensor name ${printable(name)}`);
    const value = said.at('arg').at('name').text();
    this.define(value, said);
    this.tensors.push({ value, name, kind, part: found.part });
  }

  private readNodes(graph: Fields, scope: BlockScope | null, depth: number): void {
    const nodes = graph.at('nodes').list();
    const count = this.drafts.length + nodes.length;
    if (count > MOST_NODES) throw graph.wrong(`${count} operators, more than any classifier has`);
    for (const node of nodes) {
      const block = this.findIn(() => blockOf(node));
      if (block === null) this.readNode(node, scope);
      else this.readBlock(node, block, scope, depth + 1);
    }
  }

  private readNode(node: Fields, scope: BlockScope | null): void {
    const found = this.findIn(() => findOperator(node.at('target').text()));
    if (found === null) return;
    const inputs = node
      .at('inputs')
      .list()
      .map((input) => [input.at('name').text(), this.resolve(readArgument(input.at('arg')), node, scope)] as const);
    const outputs = node
      .at('outputs')
      .list()
      .map(readOutput)
      .map((output) => this.outputIn(output, scope));
    for (const name of outputs.flat()) if (name !== null) this.define(name, node);
    if (scope?.writesIntoGiven({ ...found, inputs, outputs })) {
      throw this.unsupported('changes a tensor in place in torch.no_grad(), so its gradients are none of its graph');
    }
    this.drafts.push({ ...found, inputs, outputs, calls: callsOf(node) });
  }

  /** Reads a block as if its body stood in the program. */
  private readBlock(node: Fields, { graph, given, hasGradient }: Block, outer: BlockScope | null, depth: number): void {
    const inputs = graph.at('inputs').list().map(readOutput);
    const results = graph.at('outputs').list().map(readOutput);
    const outputs = node.at('outputs').list().map(readOutput);
    if (depth > DEEPEST) throw node.wrong('blocks within blocks, deeper than any classifier has them');
    if (inputs.length !== given.length || results.length !== outputs.length) {
      throw node.wrong('a block that is given, or returns, another number of values than its graph');
    }
    const scope = new BlockScope(`block ${++this.blocks}: `, hasGradient && (outer?.hasGradient ?? true));
    for (const [i, name] of inputs.entries()) {
      if (typeof name === 'string') scope.give(name, this.resolve(given[i]!, node, outer));
    }
    this.readNodes(graph, scope, depth);
    for (const [name, said] of graph.at('tensor_values').entries()) {
      const value = scope.resolve({ kind: 'value', text: name });
      if (value?.kind === 'value' && !this.described.has(value.text)) this.described.set(value.text, said);
    }
    for (const [i, output] of outputs.entries()) {
      const result = results[i]!;
      if (output === null) continue;
      if (typeof output !== 'string' || typeof result !== 'string') throw node.wrong('a block that returns a list');
      const name = this.outputIn(output, outer) as string;
      const self = this.resolve({ kind: 'value', text: result }, node, scope);
      this.define(name, node);
      // Under a name of its own: a block may return what it was given, or one value twice.
      const operator = hasGradient ? 'aten::alias' : 'aten::detach';
      this.drafts.push({ operator, overload: '', inputs: [['self', self]], outputs: [name], calls: callsOf(node) });
    }
  }

  /** An argument as the program has it, whose values stand before `node`. */
  private resolve(argument: ProgramArgument, node: Fields, scope: BlockScope | null): ProgramArgument {
    const found = scope === null ? argument : scope.resolve(argument);
    const isKnown = found !== null && valuesIn(found).every((name) => this.known.has(name));
    if (isKnown) return found;
    const names = valuesIn(argument).map(printable).join(', ');
    throw node.wrong(`the value ${names}, which nothing before it gives`);
  }

  private outputIn(output: string | string[] | null, scope: BlockScope | null): string | string[] | null {
    if (scope === null || output === null) return output;
    return Array.isArray(output) ? output.map((name) => scope.define(name)) : scope.define(output);
  }

  private findIn<Found>(find: () => Found): Found {
    try {
      return find();
    } catch (error) {
      if (!(error instanceof OperatorFault)) throw error;
      throw new SightlineError(
        'UNSUPPORTED_MODEL',
        `${this.path} uses the operator ${printable(error.operator)}, ${error.reason}; export a model of plain operators, or export it as TorchScript.`,
        { details: { path: this.path, operator: printable(error.operator) } },
      );
    }
  }

  private readOutputs(signature: Fields, calls: Fields): { name: string | null; value: string }[] {
    const values: (string | null)[] = [];
    for (const spec of signature.at('output_specs').list()) {
      const [kind, said] = spec.choice();
      // What a buffer becomes is nobody's output: weights are not changed by a look at them.
      if (kind === 'buffer_mutation' || kind === 'user_input_mutation') continue;
      if (kind !== 'user_output') throw this.unsupported(`gives an output of the kind ${printable(kind)}`);
      const [of, value] = said.at('arg').choice();
      const name = of === 'as_tensor' ? value.at('name').text() : null;
      if (name !== null && !this.known.has(name)) {
        throw said.wrong(`the value ${printable(name)}, which nothing gives`);
      }
      values.push(name);
    }
    const paths = outputPaths(calls, values.length);
    const outputs = values.flatMap((value, i) => (value === null ? [] : [{ name: paths[i]!, value }]));
    if (outputs.length === 0) throw this.unsupported('returns no tensor; export a model that returns its scores');
    return outputs;
  }

  private define(name: string, where: Fields): void {
    if (this.known.has(name)) throw where.wrong(`the value ${printable(name)} a second time`);
    this.known.add(name);
  }

  private unsupported(what: string): SightlineError {
    return new SightlineError('UNSUPPORTED_MODEL', `${this.path} ${what}.`, { details: { path: this.path } });
  }
}

function callsOf(node: Fields): Draft['calls'] {
  const stack = node.at('metadata').at('nn_module_stack');
  return stack.isMissing ? [] : readCalls(stack.text());
}

function readOutput(output: Fields): string | string[] | null {
  const [kind, value] = output.choice();
  switch (kind) {
    case 'as_tensor':
      return value.at('name').text();
    case 'as_tensors':
      return value.list().map((each) => each.at('name').text());
    case 'as_sym_int':
    case 'as_sym_float':
    case 'as_sym_bool':
      return value.at('as_name').text();
    case 'as_none':
      return null;
    default:
      throw output.wrong(`an output of the kind ${printable(kind)}`);
  }
}

/** Read where a pattern asks: of most values nobody does. */
function factsFrom(described: ReadonlyMap<string, Fields>): Described {
  const known = new Map<string, TensorFacts | null>();
  return (value) => {
    let facts = known.get(value);
    if (facts === undefined) {
      const fields = described.get(value);
      facts =
        fields === undefined
          ? null
          : {
              sizes: readLengths(fields.at('sizes')),
              strides: readLengths(fields.at('strides')),
              isFloating: FLOATING.has(readDtype(fields.at('dtype'))),
            };
      known.set(value, facts);
    }
    return facts;
  };
}

const FLOATING: ReadonlySet<string> = new Set(['F16', 'BF16', 'F32', 'F64']);
