/** An operator of a program as the engine is to run it. */
export interface FoundOperator {
  readonly operator: string;
  /** Null for arithmetic, which takes what fits. */
  readonly overload: string | null;
}

/** What Python computes sizes with, by the names of TorchScript. */
const ARITHMETIC: Readonly<Record<string, string>> = {
  '_operator.add': 'aten::add',
  '_operator.sub': 'aten::sub',
  '_operator.mul': 'aten::mul',
  '_operator.floordiv': 'aten::floordiv',
  '_operator.truediv': 'aten::div',
  '_operator.mod': 'aten::remainder',
  '_operator.pow': 'aten::pow',
  '_operator.neg': 'aten::neg',
  '_operator.eq': 'aten::eq',
  '_operator.ne': 'aten::ne',
  '_operator.lt': 'aten::lt',
  '_operator.le': 'aten::le',
  '_operator.gt': 'aten::gt',
  '_operator.ge': 'aten::ge',
  '_operator.and_': 'aten::__and__',
  '_operator.or_': 'aten::__or__',
  '_operator.not_': 'aten::__not__',
  'torch.sym_not': 'aten::__not__',
  'torch.sym_float': 'aten::Float',
  'torch.sym_max': 'prim::max',
  'torch.sym_min': 'prim::min',
  'math.ceil': 'aten::ceil',
  'math.floor': 'aten::floor',
  'math.trunc': 'aten::Int',
  'torch.sym_int': 'aten::Int',
};

/**
 * Checks of what tracing took for granted. Those of numbers are kept, as `ASSERTION`; those of a tensor's kind hold by
 * how the program was made.
 */
const CHECKS: ReadonlySet<string> = new Set([
  'aten::_assert_tensor_metadata',
  'aten::sym_constrain_range',
  'aten::sym_constrain_range_for_size',
  'aten::_functional_sym_constrain_range',
  'aten::_functional_sym_constrain_range_for_size',
]);

/** What the engine makes a branch of that ends the run. */
export const ASSERTION = 'aten::_assert_scalar';

/** Operators of TorchScript that torch.export calls by another name. */
const RENAMED: Readonly<Record<string, FoundOperator>> = {
  'aten::sym_size.int': { operator: 'aten::size', overload: 'int' },
  'aten::sym_stride.int': { operator: 'aten::stride', overload: 'int' },
  'aten::sym_numel': { operator: 'aten::numel', overload: '' },
};

/**
 * What a node's target is in LibTorch. Null for a check that need not be run.
 *
 * @throws Error whose message ends "the program uses ..." where it is no operator of PyTorch's own
 */
export function findOperator(target: string): FoundOperator | null {
  const arithmetic = Object.hasOwn(ARITHMETIC, target) ? ARITHMETIC[target] : undefined;
  if (arithmetic !== undefined) return { operator: arithmetic, overload: null };
  const parts = /^torch\.ops\.(\w+)\.(\w+)(?:\.(\w+))?$/.exec(target);
  if (parts === null) throw new OperatorFault(target, 'which is no operator of PyTorch');
  const [, space, name, overload = 'default'] = parts as unknown as [string, string, string, string | undefined];
  if (space === 'higher_order') {
    throw new OperatorFault(`${space}::${name}`, 'a program within the program, which cannot be read');
  }
  if (space !== 'aten') {
    throw new OperatorFault(`${space}::${name}`, "which is a custom one and none of PyTorch's own");
  }
  const operator = `aten::${name}`;
  if (CHECKS.has(operator)) return null;
  const full = overload === 'default' ? operator : `${operator}.${overload}`;
  const renamed = Object.hasOwn(RENAMED, full) ? RENAMED[full] : undefined;
  return renamed ?? { operator, overload: overload === 'default' ? '' : overload };
}

/** An operator that cannot be run, and why. */
export class OperatorFault extends Error {
  constructor(
    readonly operator: string,
    readonly reason: string,
  ) {
    super(`the operator ${operator}, ${reason}`);
  }
}
