import { describe, expect, it } from 'vitest';

import { comments, messages, pages, sentencesOf, wordsOf, type Passage } from './prose.js';

/** Whoever reads is in a hurry, and English may be a second language. */
const MOST_WORDS = 25;
const FORBIDDEN = /\b(?:anew|lest|told|mend(?:s|ed|ing)?|Sought)\b/i;
/** Of place only, and not for "after". */
const BEHIND = /\bbehind (?!HTTP\b|a proxy\b|a camera\b)/i;
/** A clause for a subject: "What is more is refused". Questions may. */
const WHAT = /^What\b[^?]*[.:]$/;
/** Papers are named as they are: their sentences end in the year. */
const CITATION = /\b(?:19|20)\d\d\.?$/;
// docs/zoo.md is written by test/zoo, with its own wording.
const isOurs = ({ where }: Passage): boolean => !where.startsWith('docs/zoo.md');

describe.each([
  ['the pages', pages().filter(isOurs), 4000],
  ['doc comments of public names', comments(), 600],
  ['errors, and texts of the command line', messages(), 1200],
] as const)('%s', (_, passages, least) => {
  const sentences = passages.flatMap(({ where, text, isList }) =>
    sentencesOf(text).map((sentence) => ({ where, sentence, isList })),
  );
  const found = (isWrong: (sentence: string, isList: boolean) => boolean): string[] =>
    sentences
      .filter(({ sentence, isList }) => isWrong(sentence, isList))
      .map(({ where, sentence }) => `${where}: ${sentence}`);

  it('are found', () => expect(passages.length).toBeGreaterThan(least));

  it(`have sentences of at most ${MOST_WORDS} words`, () => {
    const isLong = (sentence: string, isList: boolean): boolean =>
      !CITATION.test(sentence) &&
      (isList ? sentence.split(/;\s/) : [sentence]).some((part) => wordsOf(part) > MOST_WORDS);
    expect(found(isLong)).toEqual([]);
  });

  it('use plain words', () => {
    expect(found((sentence) => FORBIDDEN.test(sentence) || BEHIND.test(sentence))).toEqual([]);
  });

  it('begin with a subject', () => {
    expect(found((sentence) => WHAT.test(sentence))).toEqual([]);
  });
});

it('words are counted as they are read', () => {
  expect(sentencesOf('One. Two e.g. this, by A et al. 2020? `code` three.')).toEqual([
    'One.',
    'Two e.g. this, by A et al. 2020?',
    '`code` three.',
  ]);
  expect(wordsOf('It takes three (or, as here, five and more) words.')).toBe(6);
  expect(wordsOf('Two words: and these are five.')).toBe(4);
  expect(wordsOf('A list: a b c, d, e, f, g, h, i.')).toBe(3);
});
