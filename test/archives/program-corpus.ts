/** Programs of torch.export made by hand, honest and hostile: a zip of JSON and bytes. */
import { zip, type ForgedMember } from './forge.js';
import type { Hostile } from './corpus.js';

type Json = Record<string, unknown>;

const tensor = (name: string): Json => ({ as_tensor: { name } });
const ints = (...values: number[]): Json[] => values.map((as_int) => ({ as_int }));
const meta = (sizes: readonly number[], change: Json = {}): Json => ({
  dtype: 7,
  sizes: ints(...sizes),
  strides: ints(...sizes.map((_, axis) => sizes.slice(axis + 1).reduce((product, length) => product * length, 1))),
  storage_offset: { as_int: 0 },
  layout: 7,
  ...change,
});
const node = (target: string, inputs: Json, outputs: readonly unknown[], metadata: Json = {}): Json => ({
  target,
  inputs: Object.entries(inputs).map(([name, arg]) => ({ name, arg, kind: 1 })),
  outputs,
  metadata,
});
const user = (name: string): Json => ({ user_output: { arg: tensor(name) } });

const WEIGHTS = Buffer.from(Float32Array.from({ length: 15 }, (_, i) => Math.sin(i + 1)).buffer);

/** What of the honest program is another. */
interface Forged {
  readonly nodes?: readonly Json[];
  readonly outputs?: readonly Json[];
  readonly inputs?: readonly Json[];
  readonly weight?: Json;
  readonly config?: Json;
  readonly image?: Json;
  readonly top?: Json;
  readonly model?: Buffer;
  readonly members?: readonly ForgedMember[];
  readonly without?: string;
  readonly weights?: Partial<ForgedMember>;
}

const meanOf = (name: string): Json =>
  node('torch.ops.aten.mean.dim', { self: tensor(name), dim: { as_ints: [2, 3] } }, [tensor('mean')]);
const MEAN = meanOf('x');
/** What nobody reads is left out before anybody looks at it. */
const READING = meanOf('a');
const LINEAR = node('torch.ops.aten.linear.default', { input: tensor('mean'), weight: tensor('w') }, [tensor('y')]);

/** A classifier of five classes by the mean of each color. */
export function forgeProgram(forged: Forged = {}): Buffer {
  const model = {
    schema_version: { major: 8, minor: 20 },
    torch_version: '2.13.0',
    range_constraints: {},
    guards_code: [],
    graph_module: {
      graph: {
        nodes: forged.nodes ?? [MEAN, LINEAR],
        tensor_values: {
          x: { ...meta([1, 3, 8, 8]), sizes: [{ as_expr: { expr_str: 's0', hint: { as_int: 2 } } }, ...ints(3, 8, 8)] },
          ...forged.image,
        },
      },
      signature: {
        input_specs: forged.inputs ?? [
          { parameter: { arg: { name: 'w' }, parameter_name: 'fc.weight' } },
          { user_input: { arg: tensor('x') } },
        ],
        output_specs: forged.outputs ?? [user('y')],
      },
      module_call_graph: [],
    },
    ...forged.top,
  };
  const config = forged.config ?? {
    'fc.weight': { path_name: 'weight_0', use_pickle: false, tensor_meta: { ...meta([5, 3]), ...forged.weight } },
  };
  const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
  const members: ForgedMember[] = [
    { name: 'f/data/weights/weight_0', data: WEIGHTS, ...forged.weights },
    { name: 'f/data/weights/model_weights_config.json', data: json({ config }) },
    { name: 'f/data/constants/model_constants_config.json', data: json({ config: {} }) },
    { name: 'f/models/model.json', data: forged.model ?? json(model) },
    { name: 'f/archive_format', data: Buffer.from('pt2') },
    { name: 'f/byteorder', data: Buffer.from('little') },
  ];
  return zip([...members.filter(({ name }) => !name.endsWith(forged.without ?? '\0')), ...(forged.members ?? [])]);
}

const HUGE = 2 ** 60;

const relu = (from: string, to: string): Json =>
  node('torch.ops.aten.relu.default', { self: tensor(from) }, [tensor(to)]);
/** `with torch.no_grad():` around operators that read `i`, which is `x` outside, and make `r`, which is `a` outside. */
const block = (nodes: readonly Json[], change: Json = {}, given: Json = { x: tensor('x') }): Json => {
  const graph = { inputs: [tensor('i')], outputs: [tensor('r')], nodes, tensor_values: {}, ...change };
  return node(
    'torch.ops.higher_order.wrap_with_set_grad_enabled',
    { enabled: { as_bool: false }, graph: { as_graph: { name: 'g', graph } }, ...given },
    [tensor('a')],
  );
};
/** In each of them the next one. */
const nested = (levels: number): Json => {
  if (levels === 0) return relu('i', 'r');
  return { ...block([nested(levels - 1)], {}, { i: tensor('i') }), outputs: [tensor('r')] };
};

export function hostilePrograms(): Hostile[] {
  const refused = (
    what: string,
    forged: Forged,
    sentence: RegExp,
    code: Hostile['code'] = 'UNTRUSTED_ARCHIVE',
  ): Hostile => ({ what: `a program with ${what}`, bytes: forgeProgram(forged), code, sentence });
  const unsupported = (what: string, forged: Forged, sentence: RegExp): Hostile =>
    refused(what, forged, sentence, 'UNSUPPORTED_MODEL');
  const using = (target: string, inputs: Json = { self: tensor('x') }): Forged => ({
    nodes: [node(target, inputs, [tensor('a')]), READING, LINEAR],
  });
  const deep = (levels: number): Buffer => Buffer.from('['.repeat(levels) + ']'.repeat(levels));
  return [
    // -- JSON
    refused('damaged JSON', { model: Buffer.from('{"graph_module": {') }, /model\.json is no JSON/),
    refused('no JSON at all', { model: Buffer.from('\u0000\u0001') }, /is no JSON/),
    refused('JSON of another kind', { model: Buffer.from('[1, 2]') }, /no object/),
    refused('a million brackets', { model: deep(1_000_000) }, /no object|is no JSON/),
    refused('more JSON than any model', { model: Buffer.alloc(33 * 2 ** 20, 0x20) }, /bytes, more than that of any/),
    refused('nodes that are no list', { nodes: 7 as unknown as Json[] }, /graph\.nodes no list/),
    refused('arguments that are no object', { nodes: [{ ...MEAN, inputs: [7] }] }, /inputs\[0\] no object/),
    unsupported(
      'another schema',
      { top: { schema_version: { major: 9, minor: 1 } } },
      /schema 9\.1 of torch\.export, by torch 2\.13\.0, of which sightline reads 8\.x/,
    ),
    // -- the graph
    refused(
      'a circle',
      {
        nodes: [
          node('torch.ops.aten.relu.default', { self: tensor('b') }, [tensor('a')]),
          node('torch.ops.aten.relu.default', { self: tensor('a') }, [tensor('b')]),
          MEAN,
          LINEAR,
        ],
      },
      /the value b, which nothing before it gives/,
    ),
    refused(
      'an operator that reads itself',
      { nodes: [node('torch.ops.aten.relu.default', { self: tensor('a') }, [tensor('a')]), MEAN, LINEAR] },
      /the value a, which nothing before it gives/,
    ),
    refused(
      'a value that is given twice',
      { nodes: [MEAN, { ...MEAN, outputs: [tensor('x')] }, LINEAR] },
      /the value x a second time/,
    ),
    refused('an output that nothing gives', { outputs: [user('z')] }, /the value z, which nothing gives/),
    unsupported('no output', { outputs: [] }, /returns no tensor/),
    unsupported('no image', { inputs: [] }, /takes no image tensor/),
    unsupported('an image of three axes', { image: { x: meta([3, 8, 8]) } }, /takes no images \[N, 3, H, W\]/),
    // -- operators
    unsupported(
      'an unknown operator',
      using('torch.ops.aten.evil.default'),
      /aten::evil, which this LibTorch does not/,
    ),
    unsupported('an unknown overload', using('torch.ops.aten.relu.evil'), /aten::relu\.evil, which this LibTorch does/),
    unsupported('a custom operator', using('torch.ops.evil.run.default'), /evil::run, which is a custom one/),
    unsupported(
      'a higher-order operator',
      using('torch.ops.higher_order.while_loop'),
      /higher_order::while_loop, a prog/,
    ),
    ...(
      [
        ['that reads what it was not given', block([relu('x', 'r')]), /the value x, which nothing before it gives/],
        ['that returns what it did not make', block([relu('i', 'q')]), /the value r, which nothing before it gives/],
        ['that makes what it was given', block([relu('i', 'i')], { outputs: [tensor('i')] }), /the value x a second/],
        ['that is given too little', block([relu('i', 'r')], {}, {}), /another number of values than its graph/],
        ['that returns two values as one', block([relu('i', 'r')], { outputs: ['r', 'r'].map(tensor) }), /another num/],
        ['without operators', block(7 as unknown as Json[]), /nodes no list/],
        ['within 16 others', block([nested(16)]), /blocks within blocks, deeper than any classifier has them/],
        [
          'that writes files',
          block([node('torch.ops.aten.from_file.default', { filename: { as_string: '/etc/passwd' } }, [tensor('r')])]),
          /uses the operator aten::from_file/,
        ],
      ] as const
    ).map(([what, each, sentence]) => refused(`a block ${what}`, { nodes: [each, READING, LINEAR] }, sentence)),
    refused('a block without its graph', using('torch.ops.higher_order.wrap_with_autocast'), /without its graph/),
    unsupported('a function of Python', using('builtins.eval'), /builtins\.eval, which is no operator of PyTorch/),
    unsupported('an attribute of objects', using('constructor'), /constructor, which is no operator/),
    refused(
      'an operator that writes files',
      {
        nodes: [
          node('torch.ops.aten.from_file.default', { filename: { as_string: '/etc/passwd' }, size: { as_int: 16 } }, [
            tensor('a'),
          ]),
          READING,
          LINEAR,
        ],
      },
      /uses the operator aten::from_file/,
    ),
    refused(
      'a change of memory',
      using('torch.ops.aten.set_.source_Tensor', { self: tensor('x'), source: tensor('w') }),
      /aten::set_/,
    ),
    refused(
      'memory beyond a tensor',
      using('torch.ops.aten.as_strided.default', {
        self: tensor('x'),
        size: { as_ints: [1, 3, 8, 8] },
        stride: { as_ints: [1, 1, 1, 1] },
        storage_offset: { as_int: 1_000_000 },
      }),
      /aten::as_strided/,
    ),
    refused(
      'a tensor of 226 GB',
      using('torch.ops.aten.zeros.default', { size: { as_ints: [1, 3, 140_000, 140_000] } }),
      /constant, enormous size/,
    ),
    refused('a tensor of 2^60', using('torch.ops.aten.zeros.default', { size: { as_ints: [HUGE] } }), /too large/),
    refused(
      'an argument that is not there',
      using('torch.ops.aten.relu.default', { evil: tensor('x') }),
      /evil, which it/,
    ),
    refused('an argument too few', using('torch.ops.aten.relu.default', {}), /given nothing for self/),
    refused(
      'a word for a tensor',
      using('torch.ops.aten.relu.default', { self: { as_string: 'x' } }),
      /of another kind/,
    ),
    refused(
      'a tensor for a number',
      using('torch.ops.aten.softmax.int', { self: tensor('x'), dim: tensor('w') }),
      /of another kind/,
    ),
    refused(
      'a list for a tensor',
      using('torch.ops.aten.relu.default', { self: { as_tensors: [{ name: 'x' }] } }),
      /a list, where it needs one value/,
    ),
    refused(
      'an unknown kind of argument',
      using('torch.ops.aten.relu.default', { self: { as_evil: 1 } }),
      /kind as_evil/,
    ),
    refused(
      'an object of a custom class',
      using('torch.ops.aten.relu.default', { self: { as_custom_obj: { name: 'x', class_fqn: 'evil' } } }),
      /kind as_custom_obj/,
    ),
    refused(
      'a list taken apart that is none',
      {
        nodes: [
          node('torch.ops.aten.relu.default', { self: tensor('x') }, [{ as_tensors: [{ name: 'a' }] }]),
          READING,
          LINEAR,
        ],
      },
      /a list of outputs, where it gives one/,
    ),
    refused(
      'more outputs than an operator has',
      {
        nodes: [
          node('torch.ops.aten.relu.default', { self: tensor('x') }, [tensor('a'), tensor('b')]),
          READING,
          LINEAR,
        ],
      },
      /more outputs than it has/,
    ),
    refused(
      'arithmetic on tensors',
      { nodes: [node('_operator.add', { a: tensor('x'), b: tensor('x') }, [tensor('a')]), READING, LINEAR] },
      /a tensor, where it takes numbers/,
    ),
    unsupported(
      'a custom object among its inputs',
      { inputs: [{ custom_obj: { arg: { name: 'o', class_fqn: 'evil' }, custom_obj_name: 'o' } }] },
      /input of the kind custom_obj/,
    ),
    // -- tensors
    refused('a weight that is missing', { config: {} }, /the tensor fc\.weight, which the file does not hold/),
    refused('no list of weights', { without: '_weights_config.json' }, /has no data\/weights\/model\.pt/),
    refused('weights in no member', { without: 'weight_0' }, /the member weight_0, which is missing/),
    refused('a weight outside of the file', { weight: { storage_offset: { as_int: 10 } } }, /a tensor of 100 bytes/),
    refused('a weight of 2^60', { weight: { sizes: ints(HUGE, 3) } }, /too large/),
    refused('a weight of 2^50', { weight: { sizes: ints(2 ** 50, 3) } }, /a tensor of \d+ bytes/),
    refused('a negative offset', { weight: { storage_offset: { as_int: -1 } } }, /the length -1/),
    refused('negative strides', { weight: { strides: ints(-3, 1) } }, /the length -3/),
    refused('a stride too few', { weight: { strides: ints(1) } }, /sizes that do not fit its strides/),
    refused(
      'few numbers that show 2^40',
      { weight: { sizes: ints(2 ** 40, 3), strides: ints(0, 1) } },
      /describes tensors of .* GB/,
    ),
    refused('an unknown kind of numbers', { weight: { dtype: 99 } }, /a kind of numbers that is not supported/),
    refused('complex weights', { weight: { dtype: 10 } }, /numbers of the kind C64/),
    refused(
      'a pickled weight',
      { config: { 'fc.weight': { path_name: 'weight_0', use_pickle: true, tensor_meta: meta([5, 3]) } } },
      /a tensor that only Python can unpickle/,
    ),
    refused('compressed weights', { weights: { deflate: true } }, /weight_0, which is compressed/),
    refused('a wrong checksum of weights', { weights: { told: { crc32: 1 } } }, /differs from its checksum/),
    refused(
      'two weights of one name',
      {
        inputs: [
          { parameter: { arg: { name: 'w' }, parameter_name: 'fc' } },
          { parameter: { arg: { name: 'v' }, parameter_name: 'fc.weight' } },
          { user_input: { arg: tensor('x') } },
        ],
        config: {
          fc: { path_name: 'weight_0', use_pickle: false, tensor_meta: meta([5, 3]) },
          'fc.weight': { path_name: 'weight_0', use_pickle: false, tensor_meta: meta([5, 3]) },
        },
      },
      /fc\.weight, which is taken/,
    ),
    refused(
      'a weight by the name of a setting',
      {
        inputs: [
          { buffer: { arg: { name: 'w' }, buffer_name: 'training', persistent: true } },
          { user_input: { arg: tensor('x') } },
        ],
        config: { training: { path_name: 'weight_0', use_pickle: false, tensor_meta: meta([5, 3]) } },
      },
      /training, which is taken/,
    ),
    // -- other files
    unsupported(
      'compiled code',
      { members: [{ name: 'f/data/aotinductor/model/model.so', data: Buffer.from('\u007fELF') }] },
      /compiled by AOTInductor .* save the exported program itself/,
    ),
    unsupported('no program', { without: 'model.json' }, /holds no exported program/),
    unsupported(
      'two programs',
      { members: [{ name: 'f/models/other.json', data: Buffer.from('{}') }] },
      /holds 2 exported programs/,
    ),
  ];
}
