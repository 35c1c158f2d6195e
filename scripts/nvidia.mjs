import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/**
 * @typedef {{ name: string, memory: string | null }} Gpu
 * @typedef {{ driver: string | null, gpus: Gpu[] }} Nvidia
 */

/**
 * The NVIDIA driver and the GPUs this process can reach, from nvidia-smi, else from /proc and /dev.
 * A driver without GPUs is what a container sees that was not given any.
 * @param {NodeJS.ProcessEnv} env
 * @returns {Nvidia}
 */
export function findNvidia(env = process.env) {
  const smi = spawnSync('nvidia-smi', ['--query-gpu=name,memory.total,driver_version', '--format=csv,noheader'], {
    env,
    encoding: 'utf8',
    timeout: 20_000,
  });
  if (smi.status === 0 && smi.stdout.trim() !== '') {
    const rows = smi.stdout
      .trim()
      .split('\n')
      .map((line) => line.split(',').map((cell) => cell.trim()));
    return {
      driver: rows[0]?.[2] ?? null,
      gpus: rows.map(([name, memory]) => ({ name: name ?? '', memory: memory ?? null })),
    };
  }
  const driver = kernelDriver();
  return { driver, gpus: driver !== null && existsSync('/dev/nvidia0') ? [{ name: 'NVIDIA GPU', memory: null }] : [] };
}

/** @returns {string | null} */
function kernelDriver() {
  try {
    return (
      /Kernel Module(?: for \S+)?\s+([\d.]+)/.exec(readFileSync('/proc/driver/nvidia/version', 'utf8'))?.[1] ?? null
    );
  } catch {
    return null;
  }
}
