import { readFileSync, writeFileSync } from 'node:fs';

import type { DeviceMemory } from '../engine/native-types.js';

/** What one job took at its highest, in bytes; null where the system does not tell. */
export interface PeakMemory {
  /** Resident set of the process, weights and runtime included. */
  readonly peakResidentBytes: number | null;
  /**
   * How far that is above what was resident once the model was loaded: what earlier jobs left to the allocator counts
   * too.
   */
  readonly addedResidentBytes: number | null;
  /** Allocated on the GPU, weights included. */
  readonly peakDeviceBytes: number | null;
  /** Held by the GPU's caching allocator after the job. */
  readonly reservedDeviceBytes: number | null;
}

export const UNKNOWN_MEMORY: PeakMemory = {
  peakResidentBytes: null,
  addedResidentBytes: null,
  peakDeviceBytes: null,
  reservedDeviceBytes: null,
};

export interface MemoryFiles {
  readonly status: string;
  readonly clearReferences: string;
}

const OF_THIS_PROCESS: MemoryFiles = { status: '/proc/self/status', clearReferences: '/proc/self/clear_refs' };

/** `VmRSS` and `VmHWM` of Linux' /proc/PID/status, in bytes; null where a line is missing. */
export function parseStatus(text: string): { resident: number | null; peak: number | null } {
  const read = (field: string): number | null => {
    const found = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(text);
    return found ? Number(found[1]) * 1024 : null;
  };
  return { resident: read('VmRSS'), peak: read('VmHWM') };
}

/** Resident and highest resident bytes of this process since it began or since the peak was reset. */
export function residentMemory(files: MemoryFiles = OF_THIS_PROCESS): { resident: number | null; peak: number | null } {
  try {
    return parseStatus(readFileSync(files.status, 'utf8'));
  } catch {
    return { resident: null, peak: null };
  }
}

/**
 * Peaks of one job at a time.
 *
 * A process's own peak never falls; Linux lets it be set back to what is resident now. Where that is refused, as in
 * some sandboxes, no peak of a job is known, and none is reported.
 */
export class MemoryMeter {
  private readonly highest = {
    peakResidentBytes: null as number | null,
    addedResidentBytes: null as number | null,
    peakDeviceBytes: null as number | null,
    reservedDeviceBytes: null as number | null,
  };
  private isReset = false;

  /**
   * @param loaded resident bytes once the model was loaded
   * @param deviceMemory reads the GPU's counters and, when asked to, sets their peak back; null without a GPU
   */
  constructor(
    private readonly loaded: number | null,
    private readonly deviceMemory: ((resetPeak: boolean) => DeviceMemory | null) | null,
    private readonly files: MemoryFiles = OF_THIS_PROCESS,
  ) {}

  begin(): void {
    try {
      // 5 sets VmHWM back to VmRSS (proc(5)).
      writeFileSync(this.files.clearReferences, '5');
      this.isReset = true;
    } catch {
      this.isReset = false;
    }
    this.deviceMemory?.(true);
  }

  end(): void {
    const peak = this.isReset ? residentMemory(this.files).peak : null;
    this.raise('peakResidentBytes', peak);
    this.raise('addedResidentBytes', peak === null || this.loaded === null ? null : peak - this.loaded);
    const device = this.deviceMemory?.(false) ?? null;
    this.raise('peakDeviceBytes', device?.peak ?? null);
    this.raise('reservedDeviceBytes', device?.reserved ?? null);
  }

  /** The highest of all calls between `begin` and `end`. */
  peaks(): PeakMemory {
    return { ...this.highest };
  }

  private raise(name: keyof PeakMemory, value: number | null): void {
    if (value !== null) this.highest[name] = Math.max(this.highest[name] ?? 0, value);
  }
}
