import { CodeFault, type Line, type Token } from './tokens.js';

const FAULT = 'defines __setstate__, which runs while the archive is loaded';
const UNWANTED_WORDS = new Set([
  'for',
  'while',
  'with',
  'assert',
  'raise',
  'lambda',
  'not',
  'and',
  'or',
  'in',
  'is',
  'del',
  'try',
  'import',
  'global',
  'getattr',
  'setattr',
  'hasattr',
  '__torch__',
]);
const SIGNS = new Set(['(', ')', '[', ']', ',', '.', '=', ':', '->']);
const TYPES = new Set(['List', 'Optional', 'Tuple']);

/**
 * Checks a file with a `__setstate__`, which LibTorch calls as soon as it has read the object. Quantized layers of
 * PyTorch have one that packs the weights; nothing else is let pass: values move between arguments, attributes and
 * `torch.eq`, the only calls are to the class's own methods and to operators on quantized weights, and no operator sign
 * stands for a call.
 *
 * @throws CodeFault
 */
export function checkLoadHooks(lines: readonly Line[]): void {
  const hasPackedWeights = lines.some(({ tokens }) =>
    /^_packed_params : __torch__ \. torch \. classes \. quantized \. \w+$/.test(joined(tokens)),
  );
  let isInBody = false;
  for (const { indent, tokens } of lines) {
    const first = tokens[0]!.text;
    if (first === 'def') {
      isInBody = true;
      checkHead(tokens);
    } else if (first === 'class' || indent <= 2) {
      if (first !== 'class' && indent === 0) throw new CodeFault(FAULT);
      isInBody = false;
    } else if (isInBody) {
      checkStatement(tokens, hasPackedWeights);
    }
  }
}

/** Types of arguments are the class's own or plain: an object of another class could bring its own meaning of `[0]`. */
function checkHead(tokens: readonly Token[]): void {
  const own = tokens.findIndex(({ text }, i) => text === 'self' && tokens[i + 1]?.text === ':');
  tokens.forEach(({ text }, i) => {
    if (text === '__torch__' && i !== own + 2) throw new CodeFault(FAULT);
  });
}

function checkStatement(tokens: readonly Token[], hasPackedWeights: boolean): void {
  const refuse = (): never => {
    throw new CodeFault(FAULT);
  };
  const text = joined(tokens);
  if (tokens[0]!.text === 'if' && !text.startsWith('if torch . eq (')) refuse();
  if (/^_packed_params\d* =/.test(text) && !/^_packed_params\d* = self \. _packed_params$/.test(text)) refuse();
  tokens.forEach((token, i) => {
    if (token.kind === 'name' && UNWANTED_WORDS.has(token.text)) refuse();
    if (token.kind === 'sign' && !SIGNS.has(token.text)) refuse();
    const before = tokens[i - 1];
    const follows =
      before !== undefined &&
      (before.kind === 'name' || before.kind === 'string' || before.text === ')' || before.text === ']');
    const upTo = joined(tokens.slice(Math.max(0, i - 6), i));
    if (
      token.text === '[' &&
      follows &&
      !TYPES.has(before.text) &&
      !upTo.endsWith('( state )') &&
      before.text !== 'return'
    ) {
      refuse();
    }
    if (token.text === '(' && follows && before.text !== 'return' && before.text !== 'if') {
      const isOwn = /\( self \) \. \w+$/.test(upTo);
      const isOperator =
        /(?:^|[^.] )torch \. (?:eq|relu)$/.test(upTo) ||
        /(?:^|[^.] )ops \. quantized \. \w+$/.test(upTo) ||
        /(?:^|[^.] )ops \. prim \. RaiseException$/.test(upTo);
      const isUnpacking = hasPackedWeights && /\( _packed_params\d* \) \. unpack$/.test(upTo);
      if (!isOwn && !isOperator && !isUnpacking && before.text !== 'uninitialized') refuse();
    }
    // Only as the first word of such a call: a module kept in a variable could be called by another name.
    if ((token.text === 'torch' || token.text === 'ops') && before?.text !== '.') {
      const after = joined(tokens.slice(i, i + 6));
      if (!/^(?:torch \. (?:eq|relu) \(|ops \. quantized \. \w+ \(|ops \. prim \. RaiseException)/.test(after)) {
        refuse();
      }
    }
  });
}

function joined(tokens: readonly Token[]): string {
  return tokens.map(({ text }) => text).join(' ');
}
