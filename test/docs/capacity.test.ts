import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from 'vitest';

const page = readFileSync(fileURLToPath(new URL('../../docs/capacity.md', import.meta.url)), 'utf8');
const bench = readFileSync(fileURLToPath(new URL('../../bench/README.md', import.meta.url)), 'utf8');

/** As many digits as the page shows. */
const shown = (value: number, digits = 1): string => value.toFixed(digits);

describe('docs/capacity.md', () => {
  const load = (5_000_000 / 86_400) * 3;

  it('has the load that it says', () => {
    expect(page).toContain(`${shown(load / 3)} and ${shown(load)} images/s`);
  });

  it('computes its table by its formula, from figures of bench/README.md', () => {
    const table = /<!-- capacity -->([^]*?)<!-- end -->/.exec(page)![1]!;
    const rows = [
      ...table.matchAll(
        /^\| (.+?) \| (\d+) \/ 8 × ([\d.]+) \+ ([\d.]+) \/ 2 = ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$/gm,
      ),
    ];
    expect(rows).toHaveLength(3);
    for (const [, name, forward, ratio, decoding, time, most, busy, pods] of rows) {
      const milliseconds = (Number(forward) / 8) * Number(ratio) + Number(decoding) / 2;
      const perSecond = 1000 / milliseconds;
      expect([time, most, busy], name).toEqual([shown(milliseconds), shown(perSecond), shown(perSecond * 0.65)]);
      expect(Number(pods), name).toBe(Math.ceil(load / (perSecond * 0.65)) + 1);
      for (const figure of [`${forward} ms`, ratio!, `${decoding} ms`]) expect(bench).toContain(figure);
    }
  });

  it('says how long a request waits', () => {
    for (const [busy, waits] of [...page.matchAll(/([\d.]+) at (0\.\d+)/g)].map(
      ([, w, u]) => [Number(u), w] as const,
    )) {
      expect(Number((busy / (2 * (1 - busy))).toPrecision(2))).toBe(Number(waits));
    }
  });
});
