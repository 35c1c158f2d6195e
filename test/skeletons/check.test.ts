import { describe, expect, it } from 'vitest';

import { findPython, runPython } from '../support/python.js';

const python = findPython();

describe.skipIf(python === null)('models/skeletons.py --check', () => {
  it(
    'finds every skeleton and card as a fresh export makes them, with logits equal to the bit',
    { timeout: 1_800_000 },
    async () => {
      expect(await runPython(python!, ['models/skeletons.py', '--check'])).toMatch(/^no differences, \d+ s$/m);
    },
  );
});
