import type { ProgramArgument } from '../../engine/exported-program.js';
import { activation } from './activations.js';
import { IN_PLACE } from './blocks.js';
import { Drafts, VIEWS, type Draft, type Described } from './drafts.js';

const value = (text: string): ProgramArgument => ({ kind: 'value', text });
const int = (number: number): ProgramArgument => ({ kind: 'int', number });
const float = (number: number): ProgramArgument => ({ kind: 'float', number });
const bool = (truth: boolean): ProgramArgument => ({ kind: 'bool', number: truth ? 1 : 0 });
const none: ProgramArgument = { kind: 'none' };

/**
 * Finds in a program of core ATen (`run_decompositions()`) the layers that were taken apart: linear layers, norms,
 * convolutions, activations, products of stacks of matrices, attention. Each pattern is the whole of what the layer
 * computes, so the program means what it meant. Programs that change values in place are as their authors wrote them,
 * and stay so.
 */
export function recompose(drafts: readonly Draft[], known: Described, returned: readonly string[]): readonly Draft[] {
  const graph = new Drafts(drafts, known, returned);
  for (const draft of drafts) renamed(draft, graph);
  if (drafts.some(({ operator }) => IN_PLACE.test(operator))) return drafts;
  const rules = [
    ofAnyStrides,
    copy,
    ownStrides,
    permutation,
    linear,
    linearOfStack,
    withBias,
    withoutFlattening,
    product,
    attention,
    selection,
    wholeActivation,
  ];
  for (const draft of drafts) {
    graph.lookFrom(draft);
    for (const rule of rules) rule(draft, graph);
  }
  return graph.alive();
}

function become(
  draft: Draft,
  operator: string,
  overload: string,
  inputs: Readonly<Record<string, ProgramArgument>>,
): void {
  draft.operator = operator;
  draft.overload = overload;
  draft.inputs = Object.entries(inputs);
}

/** Operators that give more than anybody reads, or have a second name. */
function renamed(draft: Draft, graph: Drafts): void {
  const given = (name: string): ProgramArgument => graph.argument(draft, name);
  const weightRank = (): number => graph.sizesOf(graph.value(draft, 'weight') ?? '')?.length ?? 0;
  switch (draft.operator) {
    case 'aten::native_layer_norm':
      if (graph.isOnlyFirstRead(draft)) {
        draft.outputs = draft.outputs.slice(0, 1);
        become(draft, 'aten::layer_norm', '', pick(draft, ['input', 'normalized_shape', 'weight', 'bias', 'eps']));
      }
      return;
    case 'aten::native_group_norm':
      if (graph.isOnlyFirstRead(draft)) {
        draft.outputs = draft.outputs.slice(0, 1);
        become(draft, 'aten::group_norm', '', {
          input: given('input'),
          num_groups: given('group'),
          weight: given('weight'),
          bias: given('bias'),
          eps: given('eps'),
        });
      }
      return;
    case 'aten::_native_batch_norm_legit_no_training':
      if (graph.isOnlyFirstRead(draft)) {
        draft.outputs = draft.outputs.slice(0, 1);
        become(draft, 'aten::batch_norm', '', {
          ...pick(draft, ['input', 'weight', 'bias', 'running_mean', 'running_var']),
          training: bool(false),
          momentum: given('momentum'),
          eps: given('eps'),
          cudnn_enabled: bool(false),
        });
      }
      return;
    case 'aten::max_pool2d_with_indices':
      if (graph.isOnlyFirstRead(draft)) {
        draft.outputs = draft.outputs.slice(0, 1);
        draft.operator = 'aten::max_pool2d';
      }
      return;
    case 'aten::_softmax':
    case 'aten::_log_softmax': {
      const half = given('half_to_float');
      if (half.kind === 'bool' && half.number === 0) {
        become(draft, draft.operator.replace('::_', '::'), 'int', pick(draft, ['self', 'dim']));
      }
      return;
    }
    case 'aten::convolution': {
      const transposed = given('transposed');
      if (weightRank() === 4 && transposed.kind === 'bool' && transposed.number === 0) {
        const names = ['input', 'weight', 'bias', 'stride', 'padding', 'dilation', 'groups'];
        become(draft, 'aten::conv2d', '', pick(draft, names));
      }
      return;
    }
    case 'aten::_adaptive_avg_pool2d':
      draft.operator = 'aten::adaptive_avg_pool2d';
      return;
    case 'aten::lift_fresh_copy':
      become(draft, 'aten::clone', '', { self: given('self') });
      return;
    case 'aten::_to_copy':
      become(draft, 'aten::to', 'dtype_layout', pick(draft, ['self', 'dtype', 'memory_format']));
      return;
    default:
  }
}

/** A view was one for the strides of its day; attention that is opened gives others. */
function ofAnyStrides(draft: Draft): void {
  if (draft.operator === 'aten::_unsafe_view' || (draft.operator === 'aten::view' && draft.overload === '')) {
    draft.operator = 'aten::reshape';
    draft.inputs = draft.inputs.map(([name, argument]) => [name === 'size' ? 'shape' : name, argument]);
  }
}

/** What is left of nn.Dropout. As such everybody knows it to change nothing. */
function copy(draft: Draft, graph: Drafts): void {
  if (draft.operator !== 'aten::clone' || graph.has(draft, 'memory_format')) return;
  const self = graph.argument(draft, 'self');
  if (!graph.isFloating(self.kind === 'value' ? self.text : '')) return;
  become(draft, 'aten::dropout', '', { input: self, p: float(0), train: bool(false) });
}

/** A mean's result, given the strides that it has. */
function ownStrides(draft: Draft, graph: Drafts): void {
  if (draft.operator !== 'aten::as_strided' || graph.has(draft, 'storage_offset')) return;
  const source = graph.value(draft, 'self');
  const [sizes, strides] = [graph.sizesOf(source ?? ''), graph.stridesOf(source ?? '')];
  const given = graph.numbers(draft, 'stride');
  if (source === null || sizes === null || strides === null || given?.length !== sizes.length) return;
  if (!graph.areSame(sizes, graph.sizesOf(graph.output(draft)))) return;
  if (!sizes.every((size, axis) => size === '1' || strides[axis] === String(given[axis]))) return;
  become(draft, 'aten::contiguous', '', { self: value(source) });
}

/** Orders of axes one upon another as one. The turned keys of attention stay as they are known. */
function permutation(draft: Draft, graph: Drafts): void {
  if (draft.operator !== 'aten::permute' || graph.transposed(graph.output(draft)) !== null) return;
  const before = graph.maker(graph.plain(graph.value(draft, 'self')), 'aten::permute');
  const [first, second] = [before && graph.numbers(before, 'dims'), graph.numbers(draft, 'dims')];
  const source = before && graph.value(before, 'self');
  if (!first || !second || source === null || first.length !== second.length) return;
  const from = (axis: number): number => (axis < 0 ? axis + first.length : axis);
  const dims = second.map((axis) => from(first[from(axis)] ?? NaN));
  if (dims.some(Number.isNaN)) return;
  become(draft, 'aten::permute', '', { self: value(source), dims: { kind: 'list', items: dims.map(int) } });
}

/** x W^T + b on rows, as `addmm` or `mm` write it. */
function linear(draft: Draft, graph: Drafts): void {
  if (draft.operator !== 'aten::addmm' && draft.operator !== 'aten::mm') return;
  const isSum = draft.operator === 'aten::addmm';
  if (isSum && (graph.has(draft, 'beta') || graph.has(draft, 'alpha'))) return;
  const [rows, matrix] = isSum ? ['mat1', 'mat2'] : ['self', 'mat2'];
  const weight = graph.transposed(graph.value(draft, matrix));
  const bias = isSum ? graph.value(draft, 'self') : null;
  if (weight === null || (isSum && (bias === null || graph.sizesOf(bias)?.length !== 1))) return;
  become(draft, 'aten::linear', '', {
    input: graph.argument(draft, rows),
    weight: value(weight),
    bias: bias === null ? none : value(bias),
  });
}

/** The same of a stack, for which the weight is repeated. */
function linearOfStack(draft: Draft, graph: Drafts): void {
  if (draft.operator !== 'aten::bmm') return;
  const repeated = graph.maker(graph.plain(graph.value(draft, 'mat2')), 'aten::expand');
  const matrix = repeated === null ? null : graph.value(repeated, 'self');
  const weight = graph.transposed(matrix);
  if (weight === null || graph.sizesOf(weight)?.length !== 2) return;
  const rows = graph.plain(graph.value(draft, 'self'));
  if (rows !== null) become(draft, 'aten::linear', '', { input: value(rows), weight: value(weight), bias: none });
}

function withBias(draft: Draft, graph: Drafts): void {
  if (draft.operator !== 'aten::add' || draft.overload !== 'Tensor' || graph.has(draft, 'alpha')) return;
  const layer = graph.maker(graph.plain(graph.value(draft, 'self')), 'aten::linear');
  const bias = graph.value(draft, 'other');
  if (layer === null || bias === null || graph.has(layer, 'bias')) return;
  const weight = graph.sizesOf(graph.value(layer, 'weight') ?? '');
  const given = graph.sizesOf(bias);
  if (given?.length !== 1 || given[0] !== weight?.[0]) return;
  // Of another module's scores with something added it would be no part.
  if (layer.calls.at(-1)?.call !== draft.calls.at(-1)?.call) return;
  const rows = graph.plain(graph.value(layer, 'input'));
  if (rows === null) return;
  become(draft, 'aten::linear', '', { input: value(rows), ...pick(layer, ['weight']), bias: value(bias) });
}

/** A linear layer on rows, between a view that lays all rows in one axis and one that takes them apart. */
function withoutFlattening(draft: Draft, graph: Drafts): void {
  if (!VIEWS.includes(draft.operator)) return;
  const layer = graph.maker(graph.plain(graph.value(draft, 'self')), 'aten::linear');
  const flat = layer === null ? null : graph.maker(graph.plain(graph.value(layer, 'input')), ...VIEWS);
  const source = flat === null ? null : graph.plain(graph.value(flat, 'self'));
  if (layer === null || flat === null || source === null) return;
  const [before, rows] = [graph.sizesOf(source), graph.sizesOf(graph.output(flat))];
  const after = graph.sizesOf(graph.output(draft));
  const out = graph.sizesOf(graph.output(layer));
  if (before === null || after === null || !graph.areSame(before.slice(0, -1), after.slice(0, -1))) return;
  if (before.at(-1) !== rows?.at(-1) || after.at(-1) !== out?.at(-1)) return;
  if (layer.calls.at(-1)?.call !== draft.calls.at(-1)?.call) return;
  become(draft, 'aten::linear', '', { input: value(source), ...pick(layer, ['weight', 'bias']) });
}

/** A product of stacks of matrices, whose axes before the last two are laid in one. */
function product(draft: Draft, graph: Drafts): void {
  if (!VIEWS.includes(draft.operator)) return;
  const flat = graph.maker(graph.value(draft, 'self'), 'aten::bmm');
  if (flat === null) return;
  const a = unstacked(graph.value(flat, 'self'), graph);
  const b = unstacked(graph.value(flat, 'mat2'), graph);
  const [left, right] = [graph.sizesOf(a ?? ''), graph.sizesOf(b ?? '')];
  const result = graph.sizesOf(graph.output(draft));
  if (a === null || b === null || left === null || right === null || result === null || left.length < 3) return;
  const stack = result.slice(0, -2);
  if (!graph.areSame(left.slice(0, -2), stack) || !graph.areSame(right.slice(0, -2), stack)) return;
  if (left.at(-2) !== result.at(-2) || right.at(-1) !== result.at(-1)) return;
  become(draft, 'aten::matmul', '', { self: value(a), other: value(b) });
}

function unstacked(operand: string | null, graph: Drafts): string | null {
  const plain = graph.plain(operand);
  const view = graph.maker(plain, ...VIEWS);
  if (view === null) return plain;
  const source = graph.plain(graph.value(view, 'self'));
  const [before, after] = [graph.sizesOf(source ?? ''), graph.sizesOf(graph.output(view))];
  const keeps = before !== null && after !== null && graph.areSame(before.slice(-2), after.slice(-2));
  return keeps && before.length > after.length ? source : plain;
}

/** `scaled_dot_product_attention` as PyTorch takes it apart: rows in which everything is masked give zeros. */
function attention(draft: Draft, graph: Drafts): void {
  if (draft.operator !== 'aten::matmul') return;
  const guarded = graph.maker(graph.plain(graph.value(draft, 'self')), 'aten::where');
  if (guarded === null) return;
  const softmax = graph.maker(graph.value(guarded, 'other'), 'aten::softmax');
  const zeros = graph.maker(graph.value(guarded, 'self'), 'aten::full_like');
  if (softmax === null || zeros === null || graph.number(zeros, 'fill_value') !== 0) return;
  const scores = graph.value(softmax, 'self');
  const rank = graph.sizesOf(scores ?? '')?.length ?? 0;
  const isLast = (axis: number | null): boolean => axis === -1 || axis === rank - 1;
  if (!isLast(graph.number(softmax, 'dim'))) return;
  const anyNot = graph.maker(graph.value(guarded, 'condition'), 'aten::logical_not');
  const any = anyNot && graph.maker(graph.value(anyNot, 'self'), 'aten::any');
  const not = any && graph.maker(graph.value(any, 'self'), 'aten::logical_not');
  const masked = not && graph.maker(graph.value(not, 'self'), 'aten::eq');
  if (!any || !masked || graph.value(masked, 'self') !== scores || graph.number(masked, 'other') !== -Infinity) return;
  const keeps = graph.argument(any, 'keepdim');
  if (!isLast(graph.number(any, 'dim')) || keeps.kind !== 'bool' || keeps.number === 0) return;

  const sum = graph.maker(graph.plain(scores), 'aten::add');
  if (sum !== null && (sum.overload !== 'Tensor' || graph.has(sum, 'alpha'))) return;
  const mask = sum === null ? null : graph.value(sum, 'other');
  const products = graph.maker(graph.plain(sum === null ? scores : graph.value(sum, 'self')), 'aten::matmul');
  if (products === null || (sum !== null && mask === null)) return;
  const query = scaled(graph.value(products, 'self'), graph);
  const keys = scaled(graph.value(products, 'other'), graph);
  const key = graph.transposed(keys?.of ?? null);
  const size = Number(graph.sizesOf(query?.of ?? '')?.at(-1));
  if (query === null || keys === null || key === null || !Number.isInteger(size)) return;
  const scale = query.by * keys.by;
  // Its own scale, but for the rounding of its square root's square root.
  const isUsual = Math.abs(scale * Math.sqrt(size) - 1) < 1e-12;
  become(draft, 'aten::scaled_dot_product_attention', '', {
    query: value(query.of),
    key: value(key),
    value: graph.argument(draft, 'other'),
    attn_mask: mask === null ? none : value(mask),
    dropout_p: float(0),
    is_causal: bool(false),
    scale: isUsual ? none : float(scale),
  });
}

function scaled(operand: string | null, graph: Drafts): { readonly of: string; readonly by: number } | null {
  const draft = graph.maker(graph.plain(operand), 'aten::mul');
  const of = draft && graph.value(draft, 'self');
  const by = draft && graph.number(draft, 'other');
  return of === null || by === null ? null : { of, by };
}

/** One entry of an axis: a slice of one, whose axis is then taken away. */
function selection(draft: Draft, graph: Drafts): void {
  if (draft.operator !== 'aten::squeeze') return;
  const dims = draft.overload === 'dims' ? graph.numbers(draft, 'dim') : null;
  const slice = graph.maker(graph.value(draft, 'self'), 'aten::slice');
  if (slice === null || dims?.length !== 1) return;
  const [axis, start, end] = [graph.number(slice, 'dim'), graph.number(slice, 'start'), graph.number(slice, 'end')];
  const source = graph.value(slice, 'self');
  if (source === null || axis === null || start === null || end !== start + 1 || start < 0 || axis !== dims[0]) return;
  if (graph.has(slice, 'step') && graph.number(slice, 'step') !== 1) return;
  become(draft, 'aten::select', 'int', { self: value(source), dim: int(axis), index: int(start) });
}

function wholeActivation(draft: Draft, graph: Drafts): void {
  const found = activation(draft, graph);
  if (found !== null) become(draft, found.operator, '', { self: value(found.of), ...found.others });
}

function pick(draft: Draft, names: readonly string[]): Record<string, ProgramArgument> {
  return Object.fromEntries(draft.inputs.filter(([name]) => names.includes(name)));
}
