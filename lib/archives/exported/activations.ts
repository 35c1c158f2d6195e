import type { ProgramArgument } from '../../engine/exported-program.js';
import { VIEWS, type Draft, type Drafts } from './drafts.js';

/** An activation that core ATen has taken apart, and what it is of. */
export interface Activation {
  readonly operator: string;
  readonly of: string;
  /** Its other arguments, by their names. */
  readonly others?: Readonly<Record<string, ProgramArgument>>;
}

/**
 * The activation that ends with this operator, as PyTorch takes it apart; null where it ends none. Left apart, its two
 * factors would each be given half of what flows back by rules of relevance, which take an activation as a whole. And
 * what guided backpropagation cuts behind a rectifier, it would not cut.
 */
export function activation(draft: Draft, graph: Drafts): Activation | null {
  switch (draft.operator) {
    case 'aten::div':
      return graph.number(draft, 'other') === 6 ? hard(graph.value(draft, 'self'), graph) : null;
    case 'aten::mul':
      return gated(graph.value(draft, 'self'), graph.value(draft, 'other'), graph);
    case 'aten::where':
      return softplus(draft, graph) ?? bent(draft, graph);
    default:
      return null;
  }
}

/** `hardsigmoid` is relu6(x + 3) / 6, and `hardswish` x relu6(x + 3) / 6. */
function hard(value: string | null, graph: Drafts): Activation | null {
  const alone = raisedRelu6(value, graph);
  if (alone !== null) return { operator: 'aten::hardsigmoid', of: alone };
  const product = graph.maker(value, 'aten::mul');
  const of = product && graph.value(product, 'self');
  const gate = product && raisedRelu6(graph.value(product, 'other'), graph);
  return of !== null && of === gate ? { operator: 'aten::hardswish', of } : null;
}

/** The x of relu6(x + 3). */
function raisedRelu6(value: string | null, graph: Drafts): string | null {
  const above = graph.maker(value, 'aten::clamp');
  if (above === null || graph.has(above, 'min') || graph.number(above, 'max') !== 6) return null;
  const below = graph.maker(graph.value(above, 'self'), 'aten::clamp');
  if (below === null || graph.has(below, 'max') || graph.number(below, 'min') !== 0) return null;
  const sum = graph.maker(graph.value(below, 'self'), 'aten::add');
  if (sum === null || graph.has(sum, 'alpha') || graph.number(sum, 'other') !== 3) return null;
  return graph.value(sum, 'self');
}

/** `silu` is x sigmoid(x), and `mish` x tanh(softplus(x)). */
function gated(of: string | null, gate: string | null, graph: Drafts): Activation | null {
  if (of === null || gate === null) return null;
  const sigmoid = graph.maker(gate, 'aten::sigmoid');
  if (sigmoid !== null && graph.value(sigmoid, 'self') === of) return { operator: 'aten::silu', of };
  const tanh = graph.maker(gate, 'aten::tanh');
  const plus = tanh && graph.maker(graph.value(tanh, 'self'), 'aten::softplus');
  if (plus === null || graph.value(plus, 'self') !== of) return null;
  return graph.number(plus, 'beta') === 1 && graph.number(plus, 'threshold') === 20
    ? { operator: 'aten::mish', of }
    : null;
}

/** `softplus` is log(1 + exp(b x)) / b, and x itself where b x is beyond a threshold. */
function softplus(where: Draft, graph: Drafts): Activation | null {
  const of = graph.value(where, 'self');
  const large = graph.maker(graph.value(where, 'condition'), 'aten::gt');
  const threshold = large && graph.number(large, 'other');
  const log = scaled(graph.value(where, 'other'), 'aten::div', graph);
  const logarithm = graph.maker(log.of, 'aten::log1p');
  const exp = logarithm && graph.maker(graph.value(logarithm, 'self'), 'aten::exp');
  if (of === null || !large || threshold === null || !exp || graph.value(exp, 'self') !== graph.value(large, 'self')) {
    return null;
  }
  const beta = factorOf(graph.value(exp, 'self'), of, 'aten::mul', graph);
  if (beta === null || beta !== log.by) return null;
  return { operator: 'aten::softplus', of, others: { beta: float(beta), threshold: float(threshold) } };
}

/** `prelu` is x, and w x where that is not above 0; `celu` is a (exp(x / a) - 1) there. */
function bent(where: Draft, graph: Drafts): Activation | null {
  const of = graph.value(where, 'self');
  const above = graph.maker(graph.value(where, 'condition'), 'aten::gt');
  if (of === null || !above || graph.value(above, 'self') !== of || graph.number(above, 'other') !== 0) return null;
  const below = graph.value(where, 'other');
  const weight = slopes(graph.maker(below, 'aten::mul'), of, graph);
  if (weight !== null) return { operator: 'aten::prelu', of, others: { weight: { kind: 'value', text: weight } } };
  const curve = scaled(below, 'aten::mul', graph);
  const exp = graph.maker(curve.of, 'aten::expm1');
  const alpha = factorOf(exp && graph.value(exp, 'self'), of, 'aten::div', graph);
  return alpha !== null && alpha === curve.by ? { operator: 'aten::celu', of, others: { alpha: float(alpha) } } : null;
}

/** The w of w x: one number, or one for each channel. */
function slopes(product: Draft | null, of: string, graph: Drafts): string | null {
  if (product === null || graph.value(product, 'other') !== of) return null;
  const view = graph.maker(graph.value(product, 'self'), ...VIEWS);
  const weight = view && graph.value(view, 'self');
  if (weight === null || graph.sizesOf(weight)?.length !== 1) return null;
  const sizes = graph.sizesOf(graph.output(view!));
  return sizes?.every((size, axis) => size === '1' || axis === 1) === true ? weight : null;
}

/**
 * The number that `of` is multiplied with, or divided by, to be the value: 1 where they are one, which may itself be a
 * product.
 */
function factorOf(value: string | null, of: string, operator: string, graph: Drafts): number | null {
  if (value === of) return 1;
  const whole = scaled(value, operator, graph);
  return whole.of === of ? whole.by : null;
}

/** A value without the number that it is multiplied with or divided by; that number is 1 where there is none. */
function scaled(
  value: string | null,
  operator: string,
  graph: Drafts,
): { readonly of: string | null; readonly by: number } {
  const draft = graph.maker(value, operator);
  const by = draft && graph.number(draft, 'other');
  return draft === null || by === null ? { of: value, by: 1 } : { of: graph.value(draft, 'self'), by };
}

function float(number: number): ProgramArgument {
  return { kind: 'float', number };
}
