import { describe, expect, it } from 'vitest';

import { countReadBacks, describeReadBacks, writtenReadBacks } from './read-backs.mjs';

describe.skipIf(process.env['SIGHTLINE_GPU'] === '1')('values that methods read back', () => {
  it('are those that docs/cuda.md names (node test/device/read-backs.mjs --write), and each has a reason', async () => {
    const rows = await countReadBacks();
    // Formatting widens columns and changes nothing else.
    const cells = (table: string): string[][] =>
      table
        .split('\n')
        .filter((line) => line.includes('`'))
        .map((line) => line.split('|').map((cell) => cell.trim()));
    expect(cells(writtenReadBacks())).toEqual(cells(describeReadBacks(rows)));
    expect(describeReadBacks(rows)).not.toContain('unknown');
  });
});
