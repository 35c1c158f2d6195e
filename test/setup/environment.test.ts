import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { runModule, temporaryFolder, writeProgram } from './fixtures.js';

interface Finding {
  name: string;
  value: string;
  state: string;
  remedy?: string;
}

async function describeMachine(programs: Record<string, string>, libtorch: object | null = null): Promise<Finding[]> {
  const bin = path.join(temporaryFolder(), 'bin');
  for (const [name, text] of Object.entries(programs)) writeProgram(path.join(bin, name), text);
  const outcome = await runModule(
    `import { describeEnvironment } from '$scripts/environment.mjs';
     console.log(JSON.stringify(describeEnvironment({ libtorch: ${JSON.stringify(libtorch)} })));`,
    { env: { PATH: bin } },
  );
  expect(outcome.stderr).toBe('');
  return JSON.parse(outcome.stdout) as Finding[];
}

const smi = (driver: string): Record<string, string> => ({
  'nvidia-smi': `#!/bin/sh\necho "NVIDIA H200, 143771 MiB, ${driver}"\necho "NVIDIA L4, 23034 MiB, ${driver}"\n`,
});
const libtorch = (cuda: string | null): object => ({ root: '/x', version: '2.13.0', cuda, origin: 'cache', why: '' });

describe('the machine', () => {
  it('is described by name, and every finding that is not ok says how to repair it in one sentence', async () => {
    const findings = await describeMachine({});
    expect(findings.map(({ name }) => name).slice(0, 8)).toEqual([
      'Node',
      'system',
      'compiler',
      'CMake',
      'addon',
      'CPU',
      'cores',
      'memory',
    ]);
    for (const { state, remedy } of findings) {
      expect(['ok', 'warning', 'problem']).toContain(state);
      expect(remedy === undefined).toBe(state === 'ok');
      expect(remedy ?? '').not.toContain('\n');
    }
    const of = (name: string): Finding | undefined => findings.find((finding) => finding.name === name);
    expect(of('Node')?.value).toBe(`${process.versions.node}, N-API ${process.versions.napi}`);
    expect(of('system')?.value).toMatch(/glibc 2\.\d+/);
    expect(of('compiler')).toMatchObject({
      value: 'none',
      remedy: expect.stringContaining('install g++ 11 or clang 14') as string,
    });
    expect(of('CMake')).toMatchObject({
      value: 'none',
      remedy: expect.stringContaining('There is no CMake') as string,
    });
    expect(of('memory')?.value).toMatch(/GB, [\d.]+ [GM]B free$/);
  });

  it('names the tools that are there', async () => {
    const findings = await describeMachine({
      'c++': '#!/bin/sh\necho "g++ 13.2.0"\n',
      cmake: '#!/bin/sh\necho "cmake version 3.31.2"\n',
      ninja: '#!/bin/sh\n',
    });
    expect(findings).toContainEqual({ name: 'compiler', value: 'g++ 13.2.0', state: 'ok' });
    expect(findings).toContainEqual({ name: 'CMake', value: '3.31.2', state: 'ok' });
  });
});

describe('a GPU', () => {
  const about = async (driver: string, cuda: string | null): Promise<Finding[]> =>
    (await describeMachine(smi(driver), libtorch(cuda))).filter(({ name }) => ['GPU', 'NVIDIA driver'].includes(name));

  it('is named with its memory and driver', async () => {
    expect(await about('580.65.06', '13.0')).toEqual([
      { name: 'GPU', value: 'NVIDIA H200, 143771 MiB; NVIDIA L4, 23034 MiB', state: 'ok' },
      { name: 'NVIDIA driver', value: '580.65.06', state: 'ok' },
    ]);
  });

  it('that LibTorch cannot use is a warning with the command that changes it', async () => {
    const [gpu] = await about('580.65.06', null);
    expect(gpu).toMatchObject({
      state: 'warning',
      remedy: expect.stringContaining('fetch-libtorch.mjs --variant cu130') as string,
    });
  });

  it.each([
    ['570.10', '13.0', 'needs driver 580 or later'],
    ['520.61', '12.6', 'needs driver 525.60.13 or later'],
  ])('with driver %s and LibTorch for CUDA %s is a problem', async (driver, cuda, reason) => {
    const findings = await about(driver, cuda);
    expect(findings[1]).toMatchObject({
      name: 'NVIDIA driver',
      value: driver,
      state: 'problem',
      remedy: expect.stringContaining(reason) as string,
    });
  });

  it('whose nvidia-smi fails is not invented', async () => {
    const findings = await describeMachine({ 'nvidia-smi': '#!/bin/sh\necho "NVIDIA-SMI has failed"\nexit 9\n' });
    expect(findings.filter(({ value }) => value.includes('has failed'))).toEqual([]);
  });
});
