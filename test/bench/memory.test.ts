import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { describe, expect, it, onTestFinished } from 'vitest';

import { MemoryMeter, parseStatus, residentMemory } from '../../lib/bench/memory.js';

const status = (resident: number, peak: number): string =>
  `Name:\tnode\nVmPeak:\t  999999 kB\nVmHWM:\t  ${peak} kB\nVmRSS:\t  ${resident} kB\nThreads:\t11\n`;

function processFiles(): { status: string; clearReferences: string; folder: string } {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sightline-memory-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return { folder, status: path.join(folder, 'status'), clearReferences: path.join(folder, 'clear_refs') };
}

it('reads the resident set and its peak out of /proc/self/status', () => {
  expect(parseStatus(status(100, 250))).toEqual({ resident: 102_400, peak: 256_000 });
  expect(parseStatus('Name:\tnode\n')).toEqual({ resident: null, peak: null });
  const { resident, peak } = residentMemory();
  expect(resident).toBeGreaterThan(10 * 2 ** 20);
  expect(peak).toBeGreaterThanOrEqual(resident! * 0.9);
});

describe('MemoryMeter', () => {
  it('sets the peak back and keeps the highest of all calls, and what is above the loaded model', () => {
    const files = processFiles();
    const meter = new MemoryMeter(100 * 1024, null, files);
    for (const peak of [150, 180, 160]) {
      writeFileSync(files.status, status(120, 400));
      meter.begin();
      expect(readFileSync(files.clearReferences, 'utf8')).toBe('5');
      writeFileSync(files.status, status(120, peak));
      meter.end();
    }
    expect(meter.peaks()).toEqual({
      peakResidentBytes: 180 * 1024,
      addedResidentBytes: 80 * 1024,
      peakDeviceBytes: null,
      reservedDeviceBytes: null,
    });
  });

  it('tells no peak where it cannot be set back', () => {
    const files = { ...processFiles(), clearReferences: '/no/such/folder/clear_refs' };
    writeFileSync(files.status, status(120, 400));
    const meter = new MemoryMeter(1024, null, files);
    meter.begin();
    meter.end();
    expect(meter.peaks()).toEqual({
      peakResidentBytes: null,
      addedResidentBytes: null,
      peakDeviceBytes: null,
      reservedDeviceBytes: null,
    });
  });

  it('reads the GPU: resets before, reads after', () => {
    const asked: boolean[] = [];
    const peaks = [30, 50, 40];
    const meter = new MemoryMeter(
      null,
      (resetPeak) => {
        asked.push(resetPeak);
        return { allocated: 10, peak: resetPeak ? 999 : peaks.shift()!, reserved: 64 };
      },
      processFiles(),
    );
    for (let i = 0; i < 3; i++) {
      meter.begin();
      meter.end();
    }
    expect(asked).toEqual([true, false, true, false, true, false]);
    expect(meter.peaks()).toMatchObject({ peakDeviceBytes: 50, reservedDeviceBytes: 64, addedResidentBytes: null });
  });

  it.skipIf(!canReset())('sees what this process takes and gives back', () => {
    const peakWith = (bytes: number): number => {
      const meter = new MemoryMeter(0, null);
      meter.begin();
      // Written to, since untouched pages are not resident.
      Buffer.alloc(bytes, 1);
      meter.end();
      return meter.peaks().peakResidentBytes!;
    };
    const small = peakWith(2 ** 20);
    expect(peakWith(200 * 2 ** 20)).toBeGreaterThan(small + 150 * 2 ** 20);
  });
});

/** Linux lets a process set its own peak back, most sandboxes do not. */
function canReset(): boolean {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
    return true;
  } catch {
    return false;
  }
}
