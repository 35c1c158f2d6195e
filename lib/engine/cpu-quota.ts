import { readFileSync } from 'node:fs';
import path from 'node:path';

const MOUNT = 'sys/fs/cgroup';

/**
 * How many processors' time the control groups of this process allow it, such as 0.5 or 4; Infinity without a limit, or
 * where there are no control groups. A container's CPU limit is one, and its processors are all of the host's.
 *
 * @param root of the file system; another one in tests
 */
export function cpuQuota(root = '/'): number {
  let least = Infinity;
  for (const line of (readText(path.join(root, 'proc/self/cgroup')) ?? '').split('\n')) {
    // NUMBER:CONTROLLERS:PATH; version 2 is number 0 and names no controllers.
    const [number, controllers, group] = /^(\d+):([^:]*):(\/.*)$/.exec(line)?.slice(1) ?? [];
    if (group === undefined) continue;
    if (number === '0') {
      for (const folder of groupsUpFrom(root, MOUNT, group)) least = Math.min(least, quotaOfVersion2(folder));
    } else if (controllers!.split(',').includes('cpu')) {
      for (const mount of new Set([controllers!, 'cpu', 'cpu,cpuacct'])) {
        for (const folder of groupsUpFrom(root, path.join(MOUNT, mount), group)) {
          least = Math.min(least, quotaOfVersion1(folder));
        }
      }
    }
  }
  return least;
}

/** The group's folder and those around it, each of which limits it, and the mount's own: all that a container sees. */
function groupsUpFrom(root: string, mount: string, group: string): string[] {
  const parts = group.split('/').filter(Boolean);
  return [...parts.keys(), parts.length].map((count) => path.join(root, mount, ...parts.slice(0, count)));
}

/** `QUOTA PERIOD` in microseconds, or `max PERIOD`. */
function quotaOfVersion2(folder: string): number {
  const [quota, period] = (readText(path.join(folder, 'cpu.max')) ?? '').trim().split(' ');
  return share(quota, period);
}

/** Both in microseconds, a file each; a quota of -1 is none. */
function quotaOfVersion1(folder: string): number {
  return share(readText(path.join(folder, 'cpu.cfs_quota_us')), readText(path.join(folder, 'cpu.cfs_period_us')));
}

function share(quota: string | null | undefined, period: string | null | undefined): number {
  const of = Number(quota) / Number(period);
  return quota && period && of > 0 && Number.isFinite(of) ? of : Infinity;
}

/** Null where there is no such file, or none that may be read: then nothing is known of a limit. */
function readText(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
