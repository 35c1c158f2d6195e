import { describe, expect, it } from 'vitest';

import { binding } from '../../../lib/engine/binding.js';
import { OPERATIONS } from '../../../lib/engine/operations.js';
import type { PlanDescription, StepDescription } from '../../../lib/engine/plan-description.js';

describe('the table of operations', () => {
  it('is one for both languages: names, counts and kinds', () => {
    const engine = binding().operations();
    expect(Object.keys(OPERATIONS).sort()).toEqual(Object.keys(engine).sort());
    expect({ ...OPERATIONS }).toEqual(engine);
    expect(Object.keys(engine).length).toBeGreaterThan(60);
  });

  const planOf = (step: Partial<StepDescription>): PlanDescription => ({
    method: 'test',
    block: {
      registers: 4,
      parameters: [],
      results: [],
      steps: [
        { op: 'image', inputs: [], outputs: [0], settings: {}, where: '' },
        { op: 'neg', inputs: [0], outputs: [1], settings: {}, where: '', ...step },
      ],
    },
    outputs: [],
    output: '',
    logits: -1,
    memory: 1,
  });

  it.each([
    ['too few values', { op: 'crop', inputs: [0] }],
    ['too many values', { op: 'neg', inputs: [0, 0] }],
    ['too few results', { op: 'top', outputs: [1] }],
    ['too many results', { op: 'matmul', inputs: [0, 0], outputs: [1, 2] }],
    ['no such operation', { op: 'negate' as 'neg' }],
  ] as const)('is kept by the engine, which reads no value that is not there: %s', (_, step) => {
    expect(() => binding().plan(planOf(step as Partial<StepDescription>))).toThrow(
      expect.objectContaining({ code: 'INTERNAL' }),
    );
  });
});
