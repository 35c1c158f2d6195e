/**
 * What `sightline doctor` says about the machine besides LibTorch itself (for that see libtorch.mjs).
 */
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PREBUILDS, chooseAddon } from '../lib/setup/addon.mjs';
import { probeAddon } from './build-native.mjs';
import { compareVersions, currentPlatform, requirePlatform } from '../lib/setup/libtorch.mjs';
import { findNvidia } from './nvidia.mjs';
import { megabytes } from './progress.mjs';
import { IS_CHECKOUT, PACKAGE_ROOT, SET_UP } from '../lib/setup/stamps.mjs';
import { findCMake, findCompiler, requireCMake, requireCompiler, requireNode } from './tools.mjs';

/** @typedef {import('./environment.mjs').Finding} Finding */

/** The features that decide which kernels LibTorch picks, by the names of /proc/cpuinfo, fastest last. */
const CPU_FEATURES = [
  'avx2',
  'f16c',
  'avx512f',
  'avx512_vnni',
  'avx512_bf16',
  'avx512_fp16',
  'amx_tile',
  'amx_bf16',
  'asimd',
  'sve',
  'bf16',
  'i8mm',
];

/**
 * The oldest driver for each CUDA major version (CUDA's minor version compatibility).
 * @type {Record<string, string>}
 */
const OLDEST_DRIVER = { 12: '525.60.13', 13: '580' };

/**
 * @param {import('./environment.mjs').EnvironmentOptions} [options]
 * @returns {Finding[]}
 */
export function describeEnvironment({ env = process.env, libtorch = null } = {}) {
  const engine = addon(env);
  return [
    node(),
    system(),
    ...tools(env, engine.state === 'ok'),
    engine,
    cpu(),
    cores(),
    memory(),
    ...nvidia(env, libtorch),
  ];
}

/** @returns {Finding} */
function node() {
  return judge('Node', `${process.versions.node}, N-API ${process.versions.napi}`, () => requireNode());
}

/** @returns {Finding} */
function system() {
  const platform = currentPlatform();
  const name = /^PRETTY_NAME="?([^"\n]*)/m.exec(readIfThere('/etc/os-release'))?.[1] ?? `${os.type()} ${os.release()}`;
  return judge(
    'system',
    `${name}, ${platform.arch}, ${platform.glibc === null ? 'no glibc' : `glibc ${platform.glibc}`}`,
    () => requirePlatform(platform),
  );
}

/** @param {NodeJS.ProcessEnv} env @param {boolean} isReady @returns {Finding[]} */
function tools(env, isReady) {
  const found = [
    judge('compiler', findCompiler(env)?.version ?? 'none', () => requireCompiler(env)),
    judge('CMake', findCMake(env) ?? 'none', () => requireCMake(env)),
  ];
  // They are needed to build, not to run: a machine with a built addon, or a package with prebuilt ones, works without
  // them.
  return isReady || (!IS_CHECKOUT && existsSync(PREBUILDS))
    ? found.map((one) => (one.state === 'problem' ? { ...one, state: 'warning' } : one))
    : found;
}

/** @param {NodeJS.ProcessEnv} env @returns {Finding} */
function addon(env) {
  const { problem } = probeAddon(env);
  if (problem !== null) {
    return {
      name: 'addon',
      value: `not usable: ${problem}`,
      state: 'problem',
      remedy: `Run ${SET_UP}, which repairs whatever it can from here.`,
    };
  }
  const {
    addon: { file, why },
  } = chooseAddon(env);
  return {
    name: 'addon',
    value: `${path.relative(PACKAGE_ROOT, file).startsWith('..') ? file : path.relative(PACKAGE_ROOT, file)}, ${why}`,
    state: 'ok',
  };
}

/** @returns {Finding} */
function cpu() {
  const info = readIfThere('/proc/cpuinfo');
  const model = os.cpus()[0]?.model.trim() || 'unknown';
  const flags = new Set((/^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1] ?? '').split(' '));
  const features = CPU_FEATURES.filter((feature) => flags.has(feature));
  const value = `${model}${features.length > 0 ? ` (${features.join(', ')})` : ''}`;
  if (process.arch === 'x64' && info !== '' && !flags.has('avx2')) {
    return {
      name: 'CPU',
      value,
      state: 'warning',
      remedy:
        "This CPU, or the virtual machine around it, has no AVX2, without which LibTorch is several times slower: let the virtual machine pass the host's CPU through, or use another machine.",
    };
  }
  return { name: 'CPU', value, state: 'ok' };
}

/** @returns {Finding} */
function cores() {
  const usable = os.availableParallelism();
  const all = os.cpus().length;
  return { name: 'cores', value: usable === all ? String(all) : `${usable} of ${all} usable`, state: 'ok' };
}

/** @returns {Finding} */
function memory() {
  const total = process.constrainedMemory() > 0 ? Math.min(os.totalmem(), process.constrainedMemory()) : os.totalmem();
  const value = `${megabytes(total)}, ${megabytes(Math.min(total, os.freemem()))} free`;
  if (total < 3.5e9) {
    return {
      name: 'memory',
      value,
      state: 'warning',
      remedy:
        'The native build takes about 2 GB and a ViT-B with gradients about 1 GB: give this machine or container 4 GB.',
    };
  }
  return { name: 'memory', value, state: 'ok' };
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {import('../lib/setup/libtorch.mjs').LibTorch | null} libtorch
 * @returns {Finding[]}
 */
function nvidia(env, libtorch) {
  const { driver, gpus } = findNvidia(env);
  if (gpus.length === 0) {
    const value = driver === null ? 'none' : `none that this process can reach (driver ${driver} is loaded)`;
    if (libtorch !== null && libtorch.cuda !== null && driver !== null) {
      return [
        {
          name: 'GPU',
          value,
          state: 'warning',
          remedy:
            'The driver is loaded but no GPU is visible: in a container, start it with --gpus all (the NVIDIA container toolkit).',
        },
      ];
    }
    return [{ name: 'GPU', value, state: 'ok' }];
  }
  /** @type {Finding} */
  const gpu = {
    name: 'GPU',
    value: gpus.map(({ name, memory: size }) => (size === null ? name : `${name}, ${size}`)).join('; '),
    state: 'ok',
  };
  /** @type {Finding} */
  const driverFinding = { name: 'NVIDIA driver', value: driver ?? 'unknown', state: 'ok' };
  if (libtorch !== null && libtorch.cuda === null) {
    const command = path.relative(process.cwd(), path.join(PACKAGE_ROOT, 'scripts', 'fetch-libtorch.mjs'));
    Object.assign(gpu, {
      state: 'warning',
      remedy: `This LibTorch is built for the CPU, so the GPU is not used: run node ${command} --variant cu130, then ${SET_UP}.`,
    });
  }
  const oldest = OLDEST_DRIVER[libtorch?.cuda?.split('.')[0] ?? ''];
  if (driver !== null && oldest !== undefined && compareVersions(driver, oldest) < 0) {
    Object.assign(driverFinding, {
      state: 'problem',
      remedy: `LibTorch for CUDA ${libtorch?.cuda} needs driver ${oldest} or later: update the driver, or use a LibTorch for an older CUDA.`,
    });
  }
  return [gpu, driverFinding];
}

/** @param {string} name @param {string} value @param {() => void} check @returns {Finding} */
function judge(name, value, check) {
  try {
    check();
    return { name, value, state: 'ok' };
  } catch (error) {
    return { name, value, state: 'problem', remedy: /** @type {Error} */ (error).message };
  }
}

/** @param {string} file */
function readIfThere(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
