/** A token of TorchScript source as LibTorch's printer writes it. */
export interface Token {
  readonly kind: 'name' | 'number' | 'string' | 'sign';
  readonly text: string;
}

/** A statement with all of its lines. */
export interface Line {
  /** Spaces in front. */
  readonly indent: number;
  readonly tokens: readonly Token[];
}

/** Source that LibTorch's printer would not write, as the end of a sentence. */
export class CodeFault extends Error {}

const NAME = /[A-Za-z_][A-Za-z_0-9]*/y;
const NUMBER = /(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?j?/y;
const STRING = /"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*'/y;
const LONG_SIGN = /->|\*\*|\/\/|==|!=|<=|>=|<</y;
const SIGNS = '-+*/%@&|^~<>()[]{}:,.=!';

/** Nesting that LibTorch's parser and compiler, which work by recursion, bear with ease. Honest archives reach 4. */
const DEEPEST_BRACKETS = 64;
const DEEPEST_INDENT = 128;
/** Operators and calls one after the other without a comma: each is a level of the parsed expression. */
const LONGEST_CHAIN = 1000;

/**
 * Splits a source file into statements.
 *
 * @throws CodeFault for what the printer never writes: other characters, strings over several lines, endless nesting
 */
export function splitLines(source: string): Line[] {
  const lines: Line[] = [];
  let tokens: Token[] = [];
  let indent = 0;
  let isFresh = true;
  // Signs since the last comma, for each bracket that is open.
  const chains = [0];
  let at = 0;
  const end = (): void => {
    if (tokens.length > 0) lines.push({ indent, tokens });
    tokens = [];
    isFresh = true;
    chains[0] = 0;
  };
  while (at < source.length) {
    if (source[at] === '\n') {
      if (chains.length === 1) end();
      at++;
      continue;
    }
    const letter = source[at]!;
    if (letter === ' ') {
      const from = at;
      while (source[at] === ' ') at++;
      if (isFresh) indent = at - from;
      continue;
    }
    if (letter === '#') {
      const end = source.indexOf('\n', at);
      at = end < 0 ? source.length : end;
      continue;
    }
    if (isFresh) {
      if (at === 0 || source[at - 1] === '\n') indent = 0;
      if (indent > DEEPEST_INDENT) throw new CodeFault('nests statements deeper than any model does');
      isFresh = false;
    }
    const [kind, text] = next(source, at, letter);
    at += text.length;
    // Two strings side by side would be one of three quotes to another reader.
    if (kind === 'string' && tokens[tokens.length - 1]?.kind === 'string') {
      throw new CodeFault('has code that TorchScript does not print');
    }
    count(kind, text, chains);
    tokens.push({ kind, text });
  }
  if (chains.length !== 1) throw new CodeFault('opens a bracket that it does not close');
  end();
  return lines;
}

/** The token that begins there: kind by its first letter, the longest of its kind. */
function next(source: string, at: number, letter: string): [Token['kind'], string] {
  const match = (pattern: RegExp): string | null => {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0] ?? null;
  };
  const isLetter = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') || letter === '_';
  if (isLetter) return ['name', match(NAME)!];
  if ((letter >= '0' && letter <= '9') || letter === '.') {
    const number = match(NUMBER);
    if (number !== null) return ['number', number];
  }
  if (letter === '"' || letter === "'") {
    const string = match(STRING);
    if (string !== null) return ['string', string];
  } else if (SIGNS.includes(letter)) {
    const sign = '()[]{}:,.+%@&|^~'.includes(letter) ? letter : (match(LONG_SIGN) ?? letter);
    if (sign !== '!') return ['sign', sign];
  }
  throw new CodeFault('has code that TorchScript does not print');
}

const WORDS = new Set(['and', 'or', 'not', 'if', 'else', 'in', 'is', 'lambda']);

function count(kind: Token['kind'], text: string, chains: number[]): void {
  const isSign = kind === 'sign';
  if (isSign && text === ',') {
    chains[chains.length - 1] = 0;
    return;
  }
  if (isSign && (text === ')' || text === ']' || text === '}')) {
    if (chains.length === 1) throw new CodeFault('closes a bracket that it has not opened');
    chains.pop();
    return;
  }
  if (isSign || (kind === 'name' && WORDS.has(text))) {
    if (++chains[chains.length - 1]! > LONGEST_CHAIN) {
      throw new CodeFault('has an expression longer than any model does');
    }
  }
  if (isSign && (text === '(' || text === '[' || text === '{')) {
    if (chains.length > DEEPEST_BRACKETS) throw new CodeFault('nests expressions deeper than any model does');
    chains.push(0);
  }
}
