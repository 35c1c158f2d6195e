import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Model } from '../../lib/index.js';
import { ambiguityOf, resolveTargets } from '../../lib/requests/targets.js';
import { cardOf, CNN } from '../concurrency/models.js';

/** As folders of digits are listed: by their letters. */
const LABELS = ['0', '1', '10', '2', '3', '4', '5'];

describe('labels that read like numbers of other classes', () => {
  let model: Model;
  beforeAll(async () => {
    model = await Model.load(CNN.path, { device: 'cpu', card: { ...cardOf(CNN), labels: LABELS } });
  });
  afterAll(() => model.close());

  it('a number is the index, as text too, as the command line gives it', () => {
    for (const target of [2, '2', ' 2 ']) expect(resolveTargets([target], LABELS)).toEqual([{ of: 2, against: null }]);
    // There is no class of that number, so it is a label.
    expect(resolveTargets(['10'], LABELS)).toEqual([{ of: 2, against: null }]);
    expect(() => resolveTargets(['11'], LABELS)).toThrow(expect.objectContaining({ code: 'UNKNOWN_TARGET' }));
  });

  it('are told once, at load', () => {
    expect(model.notes.filter((note) => note.includes('numbers are indices'))).toEqual([
      '"2" is the label of class 3, but as a target 2 is the class with that number: numbers are indices, whatever the labels say.',
    ]);
    expect(ambiguityOf(['0', '1', '2'])).toBeNull();
    expect(ambiguityOf(['cat', '7'])).toBeNull();
  });
});
