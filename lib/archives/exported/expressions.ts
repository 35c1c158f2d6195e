/** What a name in an expression is; undefined where nobody knows. */
export type Lookup = (name: string) => number | undefined;

const DEEPEST = 64;
/** Levels of Python's operators, the loosest first. */
const LEVELS: readonly (readonly string[])[] = [
  ['or', '|'],
  ['and', '&'],
  ['==', '!=', '<=', '>=', '<', '>'],
  ['+', '-'],
  ['*', '//', '/', '%'],
];
const TOKEN =
  /\s*(?:(L\['[^']*'\]\.size\(\)\[\d+\])|('[^']*')|(\d+)|([A-Za-z_]\w*)|(\*\*|\/\/|[=!<>]=|[-+*/%<>()&|~,=]))/y;

/**
 * Computes an expression of sizes, as torch.export writes them: `32*s0`, `Mul(Integer(32), Symbol('s0'))`,
 * `L['x'].size()[2] % 14 == 0`. Truth is 1 and 0.
 *
 * @returns null where it cannot be computed: it is no such expression, or has a name that nobody knows
 */
export function evaluate(expression: string, lookup: Lookup): number | null {
  const tokens = split(expression);
  if (tokens === null) return null;
  try {
    const parser = new Parser(tokens, lookup);
    const value = parser.all();
    return Number.isFinite(value) ? value : null;
  } catch (error) {
    if (error instanceof Unknown) return null;
    throw error;
  }
}

/** The names in an expression that can be computed. */
export function namesIn(expression: string): string[] {
  const names = new Set<string>();
  evaluate(expression, (name) => {
    names.add(name);
    return 1;
  });
  return [...names];
}

/** An expression as people write it: `32*s0` for `Mul(Integer(32), Symbol('s0', integer=True))`. */
export function readable(expression: string): string {
  return expression
    .replace(/Symbol\('([^']*)'[^)]*\)/g, '$1')
    .replace(/Integer\((-?\d+)\)/g, '$1')
    .replace(/^Mul\((-?\w+), (\w+)\)$/, '$1*$2');
}

class Unknown extends Error {}

function split(expression: string): string[] | null {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  const text = expression.trimEnd();
  while (TOKEN.lastIndex < text.length) {
    const found = TOKEN.exec(text);
    if (found === null) return null;
    tokens.push(found[0].trim());
  }
  return tokens;
}

class Parser {
  private at = 0;

  constructor(
    private readonly tokens: readonly string[],
    private readonly lookup: Lookup,
  ) {}

  all(): number {
    const value = this.level(0, 0);
    if (this.at !== this.tokens.length) throw new Unknown();
    return value;
  }

  private take(token: string): boolean {
    if (this.tokens[this.at] !== token) return false;
    this.at++;
    return true;
  }

  private level(level: number, depth: number): number {
    if (depth > DEEPEST) throw new Unknown();
    const operators = LEVELS[level];
    if (operators === undefined) return this.signed(depth);
    let value = this.level(level + 1, depth);
    for (;;) {
      const operator = this.tokens[this.at];
      if (operator === undefined || !operators.includes(operator)) return value;
      this.at++;
      value = apply(operator, value, this.level(level + 1, depth));
    }
  }

  private signed(depth: number): number {
    if (this.take('-')) return -this.signed(depth + 1);
    if (this.take('not') || this.take('~')) return this.signed(depth + 1) === 0 ? 1 : 0;
    const base = this.atom(depth);
    return this.take('**') ? base ** this.signed(depth + 1) : base;
  }

  private atom(depth: number): number {
    const token = this.tokens[this.at++];
    if (token === undefined || depth > DEEPEST) throw new Unknown();
    if (token === '(') {
      const value = this.level(0, depth + 1);
      if (!this.take(')')) throw new Unknown();
      return value;
    }
    if (/^\d/.test(token)) return Number(token);
    if (this.take('(')) return this.call(token, depth);
    return this.named(/^(?:L\[|[A-Za-z_])/.test(token) ? token : null);
  }

  private named(name: string | null): number {
    const value = name === null ? undefined : this.lookup(name);
    if (value === undefined) throw new Unknown();
    return value;
  }

  /** `Symbol('s0', positive=True, integer=True)` without what the symbol is known to be. */
  private symbol(): number {
    const name = /^'(.*)'$/.exec(this.tokens[this.at] ?? '')?.[1];
    while (this.at < this.tokens.length && !this.take(')')) this.at++;
    return this.named(name ?? null);
  }

  private call(name: string, depth: number): number {
    if (name === 'Symbol') return this.symbol();
    const given: number[] = [];
    do given.push(this.level(0, depth + 1));
    while (this.take(','));
    if (!this.take(')')) throw new Unknown();
    const [a, b] = given;
    if (name === 'Integer' && given.length === 1) return a!;
    if (name === 'Add') return given.reduce((sum, each) => sum + each, 0);
    if (name === 'Mul') return given.reduce((whole, each) => whole * each, 1);
    if (name === 'Max') return Math.max(...given);
    if (name === 'Min') return Math.min(...given);
    const operator = CALLS[name];
    if (operator === undefined || a === undefined || b === undefined || given.length !== 2) throw new Unknown();
    return apply(operator, a, b);
  }
}

const CALLS: Readonly<Record<string, string | undefined>> = Object.assign(Object.create(null) as object, {
  Pow: '**',
  Rational: '/',
  Mod: '%',
  PythonMod: '%',
  FloorDiv: '//',
  CleanDiv: '//',
  Eq: '==',
  Ne: '!=',
  Lt: '<',
  Le: '<=',
  Gt: '>',
  Ge: '>=',
});

function apply(operator: string, a: number, b: number): number {
  const truth = (value: boolean): number => (value ? 1 : 0);
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return a / b;
    case '**':
      return a ** b;
    case '//':
      return Math.floor(a / b);
    case '%':
      // Python's has the sign of the divisor.
      return a - b * Math.floor(a / b);
    case '==':
      return truth(a === b);
    case '!=':
      return truth(a !== b);
    case '<':
      return truth(a < b);
    case '<=':
      return truth(a <= b);
    case '>':
      return truth(a > b);
    case '>=':
      return truth(a >= b);
    case 'and':
    case '&':
      return truth(a !== 0 && b !== 0);
    default:
      return truth(a !== 0 || b !== 0);
  }
}
