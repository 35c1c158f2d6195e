import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { commitOf, describeMachine } from '../../lib/bench/machine.js';
import { FORWARD, readReport } from '../../lib/bench/report.js';
import { reportLines } from '../../lib/bench/table.js';
import { configuration, latencyRow, sampleReport, throughputRow } from './sample-report.js';

function folder(): string {
  const made = mkdtempSync(path.join(os.tmpdir(), 'sightline-report-'));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

const forward = [10, 11, 12, 10, 10];

describe('readReport', () => {
  it('reads what was written', async () => {
    const report = sampleReport({
      throughput: [throughputRow('gae', 8, forward, forward)],
      latency: [latencyRow('gae', 4, [1, 2, 3], { source: 'files' })],
    });
    const file = path.join(folder(), 'bench.json');
    writeFileSync(file, JSON.stringify(report));
    expect(await readReport(file)).toEqual(report);
  });

  it('refuses what is not there, is no JSON, or is no report', async () => {
    const into = folder();
    const write = (name: string, text: string): string => {
      writeFileSync(path.join(into, name), text);
      return path.join(into, name);
    };
    await expect(readReport(path.join(into, 'none.json'))).rejects.toMatchObject({
      code: 'FILE_NOT_FOUND',
      message: expect.stringContaining('none.json') as string,
    });
    await expect(readReport(into)).rejects.toMatchObject({ code: 'NOT_A_FILE' });
    await expect(readReport(write('text.json', 'bench'))).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('is no JSON') as string,
    });
    await expect(readReport(write('other.json', '{"format":"sightline-bench/0"}'))).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringMatching(/format: .*sightline-bench\/1/) as string,
    });
    const { gpus: _, ...part } = sampleReport();
    await expect(readReport(write('part.json', JSON.stringify(part)))).rejects.toMatchObject({
      code: 'INVALID_INPUT',
      message: expect.stringContaining('(gpus: ') as string,
    });
  });
});

describe('reportLines', () => {
  it('shows each figure under its head', () => {
    const method = [30, 22, 24, 26, 20];
    const lines = reportLines(
      sampleReport({
        throughput: [throughputRow(FORWARD, 8, forward, forward), throughputRow('gae', 8, method, forward)],
      }),
    );
    const [head, ...rows] = lines
      .slice(lines.findIndex((line) => line.includes('x forward')))
      .map((line) => line.trim().split(/ {2,}/));
    expect(head).toEqual([
      'batch',
      'job',
      'images/s',
      'median ms',
      'min ms',
      'p95 ms',
      'x forward',
      'spread',
      'peak memory',
      'added',
    ]);
    // Times 20 22 24 26 30: p95 at rank 3.8; ratios 3, 2, 2, 2.6, 2: median 2, quartiles 2 and 2.6.
    expect(rows).toEqual([
      ['8', 'forward', '800', '10.0', '10.0', '11.8', '1.00', '9.1 %', '256 MiB', '16 MiB'],
      ['8', 'gae', '333', '24.0', '20.0', '29.2', '2.00', '30.0 %', '256 MiB', '16 MiB'],
    ]);
    expect(lines[0]).toBe(
      'Some CPU, 2 cores, AVX512, 16.0 GiB of memory, Linux 6.1, load 0.1 at the start and 1.9 at the end',
    );
    expect(lines).toContain('net on cpu, 2 threads, f32, 48 x 32; weights 1 MiB, ready after 1.2 s');
  });

  it('shows the GPU and its memory where there is one', () => {
    const idle = {
      index: 0,
      name: 'NVIDIA L4',
      driver: '570.86',
      cuda: '12.8',
      memoryBytes: 24 * 2 ** 30,
      memoryUsedBytes: null,
      smClock: 210,
      smClockMax: 2040,
      memoryClock: 405,
      memoryClockMax: 6251,
      powerDraw: null,
      powerLimit: 72,
      temperature: 35,
      utilization: 0,
      throttleReasons: '0x1',
      persistence: 'Enabled',
      mig: null,
    };
    const row = {
      ...throughputRow('gae', 8, forward, forward, { device: 'cuda:0' }),
      memory: {
        peakResidentBytes: null,
        addedResidentBytes: null,
        peakDeviceBytes: 3 * 2 ** 20,
        reservedDeviceBytes: 2 ** 22,
      },
    };
    const lines = reportLines(
      sampleReport({
        configurations: [configuration({ device: 'cuda:0' })],
        gpus: { before: [idle], after: [{ ...idle, smClock: 1995, temperature: 71, throttleReasons: '0x4' }] },
        throughput: [row],
      }),
    );
    expect(lines[1]).toBe(
      'GPU 0: NVIDIA L4, driver 570.86, CUDA 12.8, 24.0 GiB, SM 1995 of 2040 MHz, memory 405 of 6251 MHz, limit 72 W, 71 °C at the end, throttle reasons 0x4, persistence Enabled',
    );
    expect(lines.at(-1)).toMatch(/unknown +unknown +3 MiB +4 MiB$/);
  });

  it('says what was not measured, once', () => {
    const skipped = {
      model: 'net',
      device: 'cpu',
      dtype: 'f32',
      job: 'gae',
      batch: null,
      concurrency: null,
      code: 'METHOD_NOT_APPLICABLE',
      reason: 'gae does not apply to net: it has no attention.',
    };
    const lines = reportLines(
      sampleReport({
        skipped: [
          skipped,
          { ...skipped, dtype: 'bf16' },
          { ...skipped, job: 'rise', batch: 32, code: 'OUT_OF_MEMORY', reason: 'Out of memory.' },
        ],
      }),
    );
    expect(lines.slice(lines.indexOf('not measured') + 1)).toEqual([
      '  gae does not apply to net: it has no attention.',
      '  net on cpu, f32, rise, batch 32: Out of memory.',
    ]);
  });
});

it('the machine is described, and a commit is told of a checkout of its own only', async () => {
  const { cores, memoryBytes, kernel } = describeMachine();
  expect(cores).toBeGreaterThanOrEqual(1);
  expect(memoryBytes).toBeGreaterThan(2 ** 28);
  expect(kernel).toBe(os.release());
  expect(await commitOf(folder())).toBeNull();
  const root = path.resolve(import.meta.dirname, '../..');
  expect(await commitOf(path.join(root, 'lib'))).toBeNull();
  const commit = await commitOf(root);
  // A copy without .git has none.
  if (commit !== null) expect(commit.hash).toMatch(/^[0-9a-f]{40}$/);
});
