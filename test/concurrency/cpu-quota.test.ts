import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { cpuQuota } from '../../lib/engine/cpu-quota.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'quota-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [file, text] of Object.entries(files)) {
    const whole = path.join(root, file);
    mkdirSync(path.dirname(whole), { recursive: true });
    writeFileSync(whole, text);
  }
}

describe('the processors that control groups allow', () => {
  it.each([
    ['no control groups', {}, Infinity],
    [
      'a container that sees its own group alone',
      { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '150000 100000\n' },
      1.5,
    ],
    ['no limit', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': 'max 100000\n' }, Infinity],
    [
      'the path of a host, of which the container has only the end',
      { 'proc/self/cgroup': '0::/docker/0a1b\n', 'sys/fs/cgroup/cpu.max': '20000 100000\n' },
      0.2,
    ],
    [
      'a tighter group around the own one',
      {
        'proc/self/cgroup': '0::/pods/one\n',
        'sys/fs/cgroup/pods/cpu.max': '200000 100000\n',
        'sys/fs/cgroup/pods/one/cpu.max': '400000 100000\n',
      },
      2,
    ],
    [
      'version 1',
      {
        'proc/self/cgroup': '5:memory:/a\n3:cpu,cpuacct:/a/b\n0::/\n',
        'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
        'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
        'sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us': '50000\n',
        'sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us': '25000\n',
      },
      2,
    ],
    ['a file that holds something else', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': 'many\n' }, Infinity],
  ])('%s', (_, files, expected) => {
    write(files);
    expect(cpuQuota(root)).toBe(expected);
  });
});

it('is no more than the number that was set before, and no more than the cores', () => {
  const binding = new URL('../../dist/engine/binding.js', import.meta.url).href;
  const code = `
    const { binding } = await import(${JSON.stringify(binding)});
    const threads = () => binding().versions().threads;
    const seen = [threads()];
    binding().limitThreads(1024); seen.push(threads());
    binding().limitThreads(1); seen.push(threads());
    binding().setThreads(5); seen.push(threads());
    binding().limitThreads(1); seen.push(threads());
    console.log(JSON.stringify(seen));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    // Else a limit of the machine that this runs on would be the number that was set before.
    env: { ...process.env, OMP_NUM_THREADS: '2' },
  });
  expect(stderr).toBe('');
  const [own, ...others] = JSON.parse(stdout) as number[];
  expect(others).toEqual([own, 1, 5, 5]);
});
