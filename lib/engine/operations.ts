/** How many values a step reads or makes. */
type Count = readonly [least: number, most: number];

/**
 * `tensor`: computes from its inputs and the model's weights. `target`: reads the class asked for as well, so that it
 * runs once for each target. `control`: is run by the interpreter itself.
 */
export type Kind = 'tensor' | 'target' | 'control';

export interface Operation {
  readonly kind: Kind;
  readonly inputs: Count;
  readonly outputs: Count;
}

const operation = (kind: Kind, inputs: number | Count, outputs: number | Count = 1): Operation => {
  const count = (of: number | Count): Count => (typeof of === 'number' ? [of, of] : of);
  return { kind, inputs: count(inputs), outputs: count(outputs) };
};
const tensor = (inputs: number | Count, outputs?: number | Count): Operation => operation('tensor', inputs, outputs);
const target = (inputs: number): Operation => operation('target', inputs);
const control = (inputs: number | Count, outputs?: number | Count): Operation => operation('control', inputs, outputs);

const unary = tensor(1);
/** A number may take the place of one of two values: the setting `left` or `right`. */
const withNumber = tensor([1, 2]);
const any: Count = [0, Infinity];
const some: Count = [1, Infinity];

/**
 * All that a step may do. The engine's own table (native/engine, operations*.cc) has the same names, counts and kinds,
 * which test/methods/vocabulary/operations.test.ts compares.
 */
export const OPERATIONS = {
  // One value, place by place.
  abs: unary,
  clamp: unary,
  cos: unary,
  detach: unary,
  exp: unary,
  floor: unary,
  full_like: unary,
  log: unary,
  neg: unary,
  not: unary,
  power: unary,
  quotient: unary,
  relu: unary,
  remainder: unary,
  scale: unary,
  shift: unary,
  sigmoid: unary,
  sign: unary,
  sin: unary,
  sqrt: unary,
  square: unary,
  tanh: unary,
  variable: unary,

  // Two, broadcast over axes of length 1.
  add: tensor(2),
  div: withNumber,
  equal: withNumber,
  greater: withNumber,
  greater_equal: withNumber,
  maximum: withNumber,
  minimum: withNumber,
  mul: tensor(2),
  sub: withNumber,
  where: tensor([1, 3]),

  // Over axes.
  highest: unary,
  lowest: unary,
  matmul: tensor(2),
  max: unary,
  mean: unary,
  mean_positive_product: tensor(2),
  min: unary,
  ranks: unary,
  scale_to_unit: unary,
  softmax: unary,
  sum: unary,
  top: tensor(1, 2),
  zero_smallest: unary,

  // Places and shapes.
  crop: tensor(3),
  diagonal: unary,
  expand_like: tensor(2),
  eye_like: unary,
  flip: unary,
  gather: tensor(2),
  narrow: unary,
  noise: withNumber,
  permute: unary,
  pick: tensor(2),
  roll: tensor(3),
  select: unary,
  split: unary,
  spread: tensor(2),
  stack: tensor(some),
  take: tensor(2),
  unsqueeze: unary,

  // Images, and algorithms that are no tensor arithmetic.
  additive_model: tensor([2, 5], 2),
  attention_flow: tensor(some),
  blur: unary,
  cluster_masks: tensor(1, 2),
  coalitions: tensor([1, 2], 2),
  felzenszwalb: tensor(1, 2),
  impute: tensor(2),
  kernel_component: unary,
  non_negative_factors: tensor(1, 2),
  paint: tensor(2),
  principal_component: unary,
  rank_regions: tensor(2),
  real_from_spectrum: unary,
  upsample: unary,

  // What is known of the model.
  bias: tensor(0),
  head_weight: tensor(0),
  norm_weight: tensor(0),
  output_projection: tensor(0),

  // The class asked for.
  asked: target(1),
  class_row: target(1),
  score: target(1),
  target: target(0),

  // Runs of the model, gradients and loops.
  accumulate: control(some, some),
  concatenate: control(some, some),
  constant: control(0),
  forward: control(1, any),
  given: control(0),
  gradient: control([2, Infinity], some),
  image: control(0),
  iterate: control(some),
  resume: control(some, any),
} as const satisfies Record<string, Operation>;

export type OperationName = keyof typeof OPERATIONS;
