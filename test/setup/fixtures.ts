import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { onTestFinished } from 'vitest';

export const ROOT = path.resolve(import.meta.dirname, '../..');

/** A folder that is removed when the running test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sightline-setup-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface FakeLibTorch {
  version?: string;
  /** Where the version stands, as official archives, wheels and source builds differ in that. */
  versionIn?: 'build-version' | 'version.py' | 'header' | 'nowhere';
  cuda?: string | null;
  arch?: string;
  oldAbi?: boolean;
  without?: string[];
}

/** The files of a LibTorch, with just what the finder looks at: libc10.so is an ELF header and one symbol name. */
export function fakeFiles(options: FakeLibTorch = {}): Record<string, Buffer> {
  const {
    version = '2.13.0+cpu',
    versionIn = 'build-version',
    cuda = null,
    arch = process.arch,
    oldAbi = false,
    without = [],
  } = options;
  const elf = Buffer.alloc(64);
  elf.writeUInt32BE(0x7f454c46, 0);
  elf.writeUInt16LE(arch === 'x64' ? 62 : 183, 18);
  const string = oldAbi ? 'SsSt10shared_ptr' : 'NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE';
  const [major, minor, patch] = version.split(/[.+]/);
  const files: Record<string, Buffer> = {
    'lib/libc10.so': Buffer.concat([elf, Buffer.from(`_ZN3c105ErrorC1ENS_14SourceLocationE${string}\0other\0`)]),
    'lib/libtorch_cpu.so': elf,
    'lib/libtorch.so': elf,
    'include/torch/script.h': Buffer.from('#pragma once\n'),
    'include/torch/headeronly/version.h': Buffer.from(
      versionIn === 'nowhere'
        ? '#pragma once\n'
        : `#define TORCH_VERSION_MAJOR ${major}\n#define TORCH_VERSION_MINOR ${minor}\n#define TORCH_VERSION_PATCH ${patch}\n`,
    ),
  };
  if (versionIn === 'build-version') files['build-version'] = Buffer.from(`${version}\n`);
  if (versionIn === 'version.py') {
    files['version.py'] = Buffer.from(
      `__version__ = '${version}'\ncuda: Optional[str] = ${cuda === null ? 'None' : `'${cuda}'`}\n`,
    );
  }
  if (cuda !== null) files['lib/libtorch_cuda.so'] = elf;
  return Object.fromEntries(Object.entries(files).filter(([name]) => !without.includes(name)));
}

export function writeFiles(folder: string, files: Record<string, Buffer | string>): string {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
  return folder;
}

export function writeProgram(file: string, text: string): string {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text, { mode: 0o755 });
  return file;
}

/** A zip archive with its members stored, not compressed; libraries get the executable bit, as in the real ones. */
export function zip(members: Record<string, Buffer>): Buffer {
  const bodies: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, data] of Object.entries(members)) {
    const encoded = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt32LE(crc32(data), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(encoded.length, 22);
    const body = Buffer.concat([Buffer.from('PK\x03\x04'), common, encoded, data]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(((name.includes('.so') ? 0o100755 : 0o100644) << 16) >>> 0, 6);
    tail.writeUInt32LE(offset, 10);
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02'), Buffer.from([20, 3]), common, tail, encoded]));
    bodies.push(body);
    offset += body.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(directory.length, 4);
  end.writeUInt16LE(directory.length, 6);
  end.writeUInt32LE(central.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...bodies, central, Buffer.from('PK\x05\x06'), end]);
}

/** An archive laid out as the official ones, with what sightline leaves out besides. */
export function officialArchive(options: FakeLibTorch = {}): Buffer {
  const extra = {
    'lib/libtorch_python.so': Buffer.from('python'),
    'share/cmake/Torch/TorchConfig.cmake': Buffer.from('cmake'),
  };
  return zip(
    Object.fromEntries(
      Object.entries({ ...fakeFiles(options), ...extra }).map(([name, data]) => [`libtorch/${name}`, data]),
    ),
  );
}

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end with exactly the environment given. */
export function runProgram(
  program: string,
  args: string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: options.env ?? {},
      cwd: options.cwd ?? ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const outcome: Outcome = { code: null, stdout: '', stderr: '' };
    child.stdout.on('data', (text) => (outcome.stdout += text));
    child.stderr.on('data', (text) => (outcome.stderr += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...outcome, code }));
  });
}

export const runScript = (
  script: string,
  args: string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<Outcome> => runProgram(process.execPath, [path.join(ROOT, 'scripts', script), ...args], options);

/** Runs an ES module given as text. `$scripts` and `$lib` in it stand for these folders. */
export const runModule = (
  text: string,
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<Outcome> =>
  runProgram(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      text.replaceAll('$scripts', path.join(ROOT, 'scripts')).replaceAll('$lib', path.join(ROOT, 'lib')),
    ],
    options,
  );
