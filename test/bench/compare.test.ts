import { describe, expect, it } from 'vitest';

import { changeOf, compareReports } from '../../lib/bench/compare.js';
import { FORWARD } from '../../lib/bench/report.js';
import { comparisonLines } from '../../lib/bench/table.js';
import { latencyRow, sampleReport, throughputRow } from './sample-report.js';

const figure = (
  low: number,
  median: number,
  high: number,
  samples = 9,
): { median: number; low: number; high: number; samples: number } => ({ median, low, high, samples });

describe('changeOf', () => {
  it('is noise while the middle halves overlap, also where they only touch', () => {
    expect(changeOf(figure(90, 100, 110), figure(105, 115, 125), true)).toMatchObject({
      verdict: 'noise',
      change: expect.closeTo(0.15, 12) as number,
    });
    expect(changeOf(figure(90, 100, 110), figure(110, 120, 130), true).verdict).toBe('noise');
    // The wide spread of one run covers the narrow one of the other.
    expect(changeOf(figure(50, 100, 150), figure(139, 140, 141), true).verdict).toBe('noise');
  });

  it('is better or worse once they are apart, by what more means', () => {
    expect(changeOf(figure(90, 100, 110), figure(111, 120, 130), true).verdict).toBe('better');
    expect(changeOf(figure(90, 100, 110), figure(70, 80, 89), true).verdict).toBe('worse');
    expect(changeOf(figure(1.0, 1.1, 1.2), figure(1.3, 1.4, 1.5), false).verdict).toBe('worse');
    expect(changeOf(figure(1.3, 1.4, 1.5), figure(1.0, 1.1, 1.2), false)).toMatchObject({
      verdict: 'better',
      change: expect.closeTo(1.1 / 1.4 - 1, 12) as number,
    });
  });

  it('proves nothing by one or two rounds', () => {
    expect(changeOf(figure(100, 100, 100, 2), figure(200, 200, 200), true).verdict).toBe('unproven');
    expect(changeOf(figure(100, 100, 100), figure(200, 200, 200, 1), true).verdict).toBe('unproven');
  });
});

describe('compareReports', () => {
  const slow = [10, 11, 10, 12, 10];
  const fast = [5, 5.5, 5, 6, 5];

  it('joins by model, method, batch or concurrency, dtype, device and source', () => {
    const before = sampleReport({
      throughput: [
        throughputRow(FORWARD, 8, slow, slow),
        throughputRow(
          'gae',
          8,
          slow.map((time) => 3 * time),
          slow,
        ),
        throughputRow('gae', 1, slow, slow),
        throughputRow('gae', 8, slow, slow, { dtype: 'bf16' }),
        throughputRow('gae', 8, slow, slow, { device: 'cuda:0' }),
        throughputRow('gae', 8, slow, slow, { model: 'other' }),
      ],
      latency: [
        latencyRow('gae', 4, [20, 30, 40]),
        latencyRow('gae', 8, [40, 50, 60]),
        latencyRow('gae', 4, [50, 60, 70], { source: 'files' }),
      ],
    });
    const after = sampleReport({
      throughput: [
        throughputRow(FORWARD, 8, fast, fast),
        throughputRow(
          'gae',
          8,
          fast.map((time) => 2 * time),
          fast,
        ),
        throughputRow('cam', 8, fast, fast),
      ],
      latency: [latencyRow('gae', 4, [10, 20, 30])],
    });
    const { rows, onlyBefore, onlyAfter, differences } = compareReports(before, after);
    expect(rows.map(({ job, batch, concurrency, source }) => [job, batch, concurrency, source])).toEqual([
      [FORWARD, 8, null, 'tensors'],
      ['gae', 8, null, 'tensors'],
      ['gae', null, 4, 'tensors'],
    ]);
    expect({ onlyBefore, onlyAfter }).toEqual({ onlyBefore: 6, onlyAfter: 1 });
    expect(differences).toEqual([]);

    const [forward, gae, loop] = rows;
    expect(forward!.imagesPerSecond).toMatchObject({ verdict: 'better', change: expect.closeTo(1, 9) as number });
    expect(forward!.ratio).toMatchObject({ verdict: 'noise', change: 0 });
    expect(gae!.ratio.before.median).toBeCloseTo(3, 9);
    expect(gae!.ratio.after.median).toBeCloseTo(2, 9);
    expect(gae!.ratio.verdict).toBe('better');
    expect(loop!.imagesPerSecond.change).toBeCloseTo(1, 9);
  });

  it('says what of machine and versions differs', () => {
    const before = sampleReport();
    const { machine, versions } = before;
    const after = sampleReport({
      machine: { ...machine, cpu: 'Another', cores: 8, load: { start: 5, end: 5 } },
      versions: { ...versions, libtorch: '2.14.0', commit: { hash: '0123456789abcdef', modified: true } },
    });
    const comparison = compareReports(before, after);
    expect(comparison.differences).toEqual([
      'CPU: Some CPU before, Another now',
      'cores: 2 before, 8 now',
      'LibTorch: 2.13.0 before, 2.14.0 now',
      'commit: unknown before, 0123456789 modified now',
    ]);
    expect(comparisonLines(comparison).join('\n')).toContain(
      'not the same in both runs: CPU: Some CPU before, Another now',
    );
    expect(comparisonLines(compareReports(before, before)).join('\n')).not.toContain('not the same');
  });

  it('is told as a table that marks noise', () => {
    const noisy = [10, 14, 9, 12, 11];
    const lines = comparisonLines(
      compareReports(
        sampleReport({ throughput: [throughputRow('cam', 8, noisy, slow)] }),
        sampleReport({ throughput: [throughputRow('cam', 8, [11, 13, 10, 12, 12], slow)] }),
      ),
    );
    const row = lines.find((line) => line.includes('batch 8'))!;
    expect(row).toMatch(
      /^ +net +cpu +f32 +batch 8 +cam +1\.00 -> 1\.10 +\+10\.0 % +noise +727 -> 667 +-8\.3 % +noise$/,
    );
  });
});
