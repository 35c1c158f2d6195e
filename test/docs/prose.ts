import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';

import { EXPORTS, MEMBERS } from './public-names.js';

/** A piece of text that users read, and where it stands. */
export interface Passage {
  /** Such as `docs/cuda.md:12` or `LoadOptions.dtype`. */
  readonly where: string;
  /** One paragraph, list item, table cell, comment or message; without markup. */
  readonly text: string;
  /** Whether a semicolon separates entries rather than clauses: in cells of tables, and in messages of two halves. */
  readonly isList: boolean;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const filesOf = (folder: string, ending: RegExp): string[] =>
  readdirSync(`${ROOT}${folder}`, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && ending.test(entry.name))
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(ROOT.length))
    .sort();

/** Code is one word, a link is its text. */
function plain(markdown: string): string {
  return markdown
    .replace(/!\[[^\]]*\]\([^)]*\)/g, ' ')
    .replace(/`+[^`]*`+/g, '`code`')
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/\*\*|__|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}

/** The passages of a page: no code, no formulas; cells of tables and list items by themselves. */
function passagesOfPage(file: string): Passage[] {
  const passages: Passage[] = [];
  let [paragraph, start, isCode]: [string[], number, boolean] = [[], 0, false];
  const add = (text: string, line: number, isList = false): void => {
    // A label in bold at the beginning is no part of the sentence.
    const words = plain(text.replace(/^\*\*([^*]+?)[.:]?\*\*:?\s/, '$1. '));
    if (words !== '') passages.push({ where: `${file}:${line}`, text: words, isList });
  };
  const end = (): void => {
    add(paragraph.join(' '), start);
    paragraph = [];
  };
  for (const [i, line] of readFileSync(`${ROOT}${file}`, 'utf8').split('\n').entries()) {
    if (/^\s*(```|~~~)/.test(line)) {
      end();
      isCode = !isCode;
    } else if (isCode || /^\s*<!--/.test(line) || (paragraph.length === 0 && /^ {4}/.test(line))) {
      end();
    } else if (/^\s*\|/.test(line)) {
      end();
      if (!/^[\s|:-]+$/.test(line)) line.split(/(?<!\\)\|/).forEach((cell) => add(cell, i + 1, true));
    } else if (line.trim() === '' || /^#/.test(line)) {
      end();
      add(line.replace(/^#+/, ''), i + 1);
    } else {
      const item = /^\s*(?:[-*]|\d+\.)\s+(.*)$/.exec(line);
      if (item !== null) end();
      if (paragraph.length === 0) start = i + 1;
      paragraph.push(item?.[1] ?? line);
    }
  }
  end();
  return passages;
}

const PAGES = [
  ...['README', 'CONTRIBUTING', 'CHANGELOG', 'SECURITY', 'bench/README', 'examples/README', 'models/README'].map(
    (name) => `${name}.md`,
  ),
  ...filesOf('docs', /\.md$/),
];

/** The text of a string, a template or a sum of them; values count as one word. Null of all else. */
function textOf(node: ts.Node): string | null {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node)) {
    return node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
  }
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const [left, right] = [textOf(node.left), textOf(node.right)];
    return left === null && right === null ? null : `${left ?? '…'}${right ?? '…'}`;
  }
  return null;
}

/** Strings of TypeScript that read as sentences: messages, and what the command line prints. */
function passagesOfSource(file: string): Passage[] {
  const source = ts.createSourceFile(file, readFileSync(`${ROOT}${file}`, 'utf8'), ts.ScriptTarget.Latest, true);
  const passages: Passage[] = [];
  const visit = (node: ts.Node): void => {
    const text = textOf(node);
    if (text === null || ts.isImportDeclaration(node.parent)) return void ts.forEachChild(node, visit);
    if (/[a-z]+ [a-z]+ [a-z]/i.test(text)) {
      const { line } = source.getLineAndCharacterOfPosition(node.getStart());
      for (const part of text.split('\n')) {
        if (plain(part) !== '') passages.push({ where: `${file}:${line + 1}`, text: plain(part), isList: true });
      }
    }
  };
  visit(source);
  return passages;
}

/** Strings of C++ that are the message of an error, joined over their lines; values count as one word. */
function passagesOfNative(file: string): Passage[] {
  const code = readFileSync(`${ROOT}${file}`, 'utf8');
  return [...code.matchAll(/(?:Error|refuse|fail)\w*\(\s*((?:[^;"]|"(?:[^"\\]|\\.)*")*?)\);/g)].flatMap(
    ({ 1: call, index }) => {
      const message = [...call!.matchAll(/"((?:[^"\\]|\\.)*)"|(\+[^"+]+\+)/g)]
        .map(([, text]) => text ?? '…')
        .filter((text) => !/^[A-Z_]+$/.test(text))
        .join('');
      if (!/[a-z]+ [a-z]+ [a-z]/i.test(message)) return [];
      return [{ where: `${file}:${code.slice(0, index).split('\n').length}`, text: plain(message), isList: true }];
    },
  );
}

export const pages = (): Passage[] => PAGES.flatMap(passagesOfPage);
export const comments = (): Passage[] =>
  [...EXPORTS, ...MEMBERS].flatMap(({ name, comment }) =>
    comment
      .split(/\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)/)
      .map((part) => ({ where: name, text: plain(part), isList: false }))
      .filter(({ text }) => text !== ''),
  );
export const messages = (): Passage[] => [
  ...filesOf('lib', /\.(ts|mjs)$/)
    .filter((file) => !file.endsWith('.d.mts'))
    .flatMap(passagesOfSource),
  ...filesOf('scripts', /\.mjs$/).flatMap(passagesOfSource),
  ...filesOf('native', /\.(cc|h)$/).flatMap(passagesOfNative),
];

/** Dots that end no sentence. */
const ABBREVIATION = /(?:\b(?:e\.g|i\.e|al|etc|vs|Fig|Eq|No)\.|\.\.\.)["')]*$/;

/** A passage's sentences, with their marks. */
export function sentencesOf(text: string): string[] {
  const sentences: string[] = [];
  for (const part of text.split(/(?<=[.?!]["')]*)\s+/)) {
    const last = sentences.at(-1);
    if (last !== undefined && ABBREVIATION.test(last)) sentences[sentences.length - 1] = `${last} ${part}`;
    else sentences.push(part);
  }
  return sentences;
}

const countWords = (text: string): number => text.split(/\s+/).filter((word) => /[\p{L}\d…]/u.test(word)).length;

/**
 * The words of a sentence, counted as simplified technical English (ASD-STE100) counts them: what a colon announces and
 * what stands in parentheses are sentences of their own, and so is each entry of a long list after a colon. The most of
 * them.
 */
export function wordsOf(sentence: string): number {
  const parts: string[] = [];
  let rest = sentence;
  for (let inner = /\(([^()]*)\)/.exec(rest); inner !== null; inner = /\(([^()]*)\)/.exec(rest)) {
    parts.push(inner[1]!);
    rest = rest.replace(inner[0], '');
  }
  const clauses = [...parts, rest].flatMap((part) => {
    const [first, ...announced] = part.split(/:\s/);
    return [first!, ...announced.flatMap((list) => (list.split(', ').length > 6 ? list.split(', ') : [list]))];
  });
  return Math.max(...clauses.map(countWords));
}
