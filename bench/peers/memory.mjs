/** Peak of the resident set, resettable: Linux only. memory.py is the same for the other side. */
import { readFileSync, writeFileSync } from 'node:fs';

/** @param {string} field */
function status(field) {
  const found = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
  return found ? Number(found[1]) * 1024 : null;
}

/** Sets the peak back to what is resident now, and returns that; null where the system does not let us. */
export function residentBefore() {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
    return status('VmRSS');
  } catch {
    return null;
  }
}

/** @param {number | null} before */
export function growthSince(before) {
  if (before === null) return null;
  const peak = status('VmHWM');
  return peak === null ? null : Math.max(0, peak - before);
}
