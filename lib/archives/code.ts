import { checkLoadHooks } from './load-hooks.js';
import { CodeFault, splitLines, type Line, type Token } from './tokens.js';

/** What a source file says to whoever checks all of them. */
export interface CodeFacts {
  /** For each class of the file the classes that its attributes are of, by full name. */
  readonly attributes: ReadonlyMap<string, ReadonlySet<string>>;
  /** For each enumeration of the file its values, as they stand there. */
  readonly enumerations: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Namespaces of operators that image classifiers use. */
const NAMESPACES = new Set(['aten', 'prim', 'quantized']);
/** Operators that open files; a variable named so is nobody's. */
const FILE_OPERATORS = new Set(['save', 'load', 'open', 'from_file']);
const BASES = new Set(['Module', 'NamedTuple', 'Enum', 'Interface', 'ModuleInterface']);
/** Functions that may stand in a value that LibTorch works out while it loads. */
const HARMLESS_CALLS = new Set(['float', 'annotate', 'device']);
const LITERAL_NAMES = new Set([
  'None',
  'True',
  'False',
  'inf',
  'nan',
  'CONSTANTS',
  'float',
  'annotate',
  'torch',
  'device',
]);

/**
 * Checks a source file of an archive before LibTorch sees it.
 *
 * LibTorch compiles the code while it loads an archive, and runs some of it at once: `__setstate__` of objects, and the
 * default values of arguments and named tuples, which may be any expression. What only runs later is read here for the
 * words that never belong into a classifier; the operators themselves are checked in the compiled graphs.
 *
 * @param path of the file below `code/`, such as `__torch__/vit.py`
 * @throws CodeFault
 */
export function checkCode(source: string, path: string): CodeFacts {
  const lines = splitLines(source);
  const module = path.replace(/\.py$/, '').replaceAll('/', '.');
  const attributes = new Map<string, Set<string>>();
  const enumerations = new Map<string, Set<string>>();
  let current: Set<string> | null = null;
  let values: Set<string> | null = null;
  /** Indent of the function whose body is being read; -1 outside of one. */
  let body = -1;
  for (const line of lines) {
    const { indent, tokens } = line;
    checkWords(tokens);
    if (body >= 0 && indent > body) continue;
    body = -1;
    const first = tokens[0]!.text;
    if (first === 'def') {
      checkSignature(tokens);
      body = indent;
    } else if (indent === 0) {
      current = null;
      values = null;
      if (first === 'class') {
        const name = `${module}.${className(tokens, module)}`;
        attributes.set(name, (current = new Set()));
        if (tokens[3]?.text === 'Enum') enumerations.set(name, (values = new Set()));
      } else if (!(tokens[1]?.text === '=' && tokens.length === 3 && tokens[2]!.kind === 'number')) {
        throw new CodeFault(`has the statement "${shown(line)}" outside of classes and functions`);
      }
    } else {
      checkMember(line, current);
      if (tokens[1]?.text === '=') {
        values?.add(
          tokens
            .slice(2)
            .map(({ text }) => text)
            .join(''),
        );
      }
    }
  }
  if (lines.some(({ tokens }) => tokens.some(({ text }) => text === '__setstate__'))) checkLoadHooks(lines);
  return { attributes, enumerations };
}

/**
 * Refuses classes that contain themselves, which LibTorch would follow without end.
 *
 * @param attributes of all files together
 */
export function checkRecursion(attributes: ReadonlyMap<string, ReadonlySet<string>>): void {
  const done = new Set<string>();
  const open = new Set<string>();
  const visit = (name: string): void => {
    if (done.has(name)) return;
    if (open.has(name)) throw new CodeFault(`has the class ${name.replace('__torch__.', '')} that contains itself`);
    if (open.size > 256) throw new CodeFault('nests classes deeper than any model does');
    open.add(name);
    for (const each of attributes.get(name) ?? []) visit(each);
    open.delete(name);
    done.add(name);
  };
  for (const name of attributes.keys()) visit(name);
}

/** `class NAME(BASE):`, and the class of `with torch.no_grad():`, which has no base. */
function className(tokens: readonly Token[], module: string): string {
  const [, name, bracket, ...rest] = tokens.map(({ text }) => text);
  const isPlain = rest.length === 1 && name !== undefined && bracket === ':';
  const base = bracket === '(' ? rest[0] : undefined;
  if (name === 'no_grad' && bracket === ':' && module === '__torch__.torch.autograd.grad_mode') return name;
  if (!isPlain && !(name !== undefined && base !== undefined && BASES.has(base) && rest.slice(1).join('') === '):')) {
    throw new CodeFault(
      `has a class that is no module: "${tokens
        .map(({ text }) => text)
        .join(' ')
        .slice(0, 80)}"`,
    );
  }
  return name;
}

/** Default values, after `=` until the comma or bracket that ends them. */
function checkSignature(tokens: readonly Token[]): void {
  const name = tokens[1]?.text ?? '';
  const last = tokens[tokens.length - 1];
  if (last?.text !== ':') throw new CodeFault(`has a function ${name} on one line`);
  let depth = 0;
  let from = -1;
  for (let i = 2; i < tokens.length; i++) {
    const { kind, text } = tokens[i]!;
    if (kind !== 'sign') continue;
    const closes = text === ')' || text === ']' || text === '}';
    if (from >= 0 && depth === 1 && (text === ',' || text === ')')) {
      checkLiteral(tokens.slice(from, i), `the default of an argument of ${name}`);
      from = -1;
    }
    if (text === '(' || text === '[' || text === '{') depth++;
    if (closes) depth--;
    if (text === '=' && depth === 1) from = i + 1;
    else if (text === '=') throw new CodeFault(`has a function ${name} with a default where none can be`);
  }
}

/**
 * A statement of a class's body: `name : type`, `name : type = value`, `name = value`, `__annotations__["0"] = type`,
 * `pass`.
 */
function checkMember(line: Line, attributes: Set<string> | null): void {
  const { tokens } = line;
  if (attributes === null) throw new CodeFault(`has the statement "${shown(line)}" outside of classes and functions`);
  if (tokens.length === 1 && tokens[0]!.text === 'pass') return;
  const assigns = tokens.findIndex(({ kind, text }) => kind === 'sign' && text === '=');
  const left = assigns < 0 ? tokens : tokens.slice(0, assigns);
  const right = assigns < 0 ? [] : tokens.slice(assigns + 1);
  const isAnnotation = left[0]?.text === '__annotations__';
  for (const type of [left, ...(isAnnotation ? [right] : [])]) {
    if (type.some(({ text }) => text === '(')) {
      throw new CodeFault(`has the statement "${shown(line)}" in the body of a class`);
    }
    for (const name of classNames(type)) attributes.add(name);
  }
  if (left[0]?.kind !== 'name') throw new CodeFault(`has the statement "${shown(line)}" in the body of a class`);
  if (assigns >= 0 && !isAnnotation) checkLiteral(right, `the value of ${left[0].text} in the body of a class`);
}

/** A value that needs no operator to work out: numbers, strings, lists and tuples of them, constants, enum members. */
function checkLiteral(tokens: readonly Token[], what: string): void {
  tokens.forEach(({ kind, text }, i) => {
    const before = tokens[i - 1];
    const isCall =
      text === '(' && before !== undefined && (before.kind === 'name' || before.text === ')' || before.text === ']');
    const refuse = (): never => {
      throw new CodeFault(`works out ${what} while it is loaded`);
    };
    if (isCall && !HARMLESS_CALLS.has(before.text)) refuse();
    if (kind === 'sign' && !'()[]{},:.-'.includes(text)) refuse();
    // `torch.device("cpu")` and types below `annotate(...)`; of `torch` nothing else.
    if (
      kind === 'name' &&
      text === 'torch' &&
      before?.text !== '.' &&
      !(tokens[i + 1]?.text === '.' && tokens[i + 2]?.text === 'device')
    ) {
      refuse();
    }
    if (kind === 'name' && text === 'ops') refuse();
    if (
      text === '(' &&
      before?.text === 'device' &&
      !(tokens[i - 2]?.text === '.' && tokens[i - 3]?.text === 'torch' && tokens[i - 4]?.text !== '.')
    ) {
      refuse();
    }
    if (
      kind === 'name' &&
      !LITERAL_NAMES.has(text) &&
      before?.text !== '.' &&
      text !== '__torch__' &&
      !/^(?:List|Dict|Optional|Tuple|Tensor|int|str|bool|number|complex)$/.test(text)
    ) {
      refuse();
    }
  });
}

function checkWords(tokens: readonly Token[]): void {
  tokens.forEach(({ kind, text }, i) => {
    if (kind !== 'name') return;
    const before = tokens[i - 1]?.text;
    const owner = before === '.' ? tokens[i - 2]?.text : undefined;
    if (FILE_OPERATORS.has(text) && (owner === 'torch' || owner === 'aten' || owner === 'prim')) {
      throw new CodeFault(`calls ${owner}.${text}, which opens files`);
    }
    if (text === 'ops' && before !== '.') {
      const namespace = tokens[i + 1]?.text === '.' ? tokens[i + 2]?.text : undefined;
      if (namespace === undefined || !NAMESPACES.has(namespace)) {
        throw new CodeFault(`uses operators of the namespace ${namespace ?? 'ops'}, which no image classifier needs`);
      }
    }
    if (
      text === 'classes' &&
      owner === 'torch' &&
      tokens[i - 4]?.text === '__torch__' &&
      tokens[i + 2]?.text !== 'quantized'
    ) {
      throw new CodeFault(`uses the custom class torch.classes.${tokens[i + 2]?.text ?? ''}`);
    }
  });
}

/** Full names of the archive's own classes in a type. */
function classNames(tokens: readonly Token[]): string[] {
  const names: string[] = [];
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i]!.text !== '__torch__') continue;
    let name = '__torch__';
    while (tokens[i + 1]?.text === '.' && tokens[i + 2]?.kind === 'name') {
      name += `.${tokens[i + 2]!.text}`;
      i += 2;
    }
    names.push(name);
  }
  return names;
}

function shown(line: Line): string {
  return line.tokens
    .map(({ text }) => text)
    .join(' ')
    .slice(0, 80);
}
