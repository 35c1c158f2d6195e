import type { LibTorch } from '../lib/setup/libtorch.mjs';

/** One line of `sightline doctor`. */
export interface Finding {
  /** What was looked at, such as `compiler`. */
  name: string;
  /** What was found, in words. */
  value: string;
  /** `problem`: sightline cannot work so; `warning`: it works, but slower or with less. */
  state: 'ok' | 'warning' | 'problem';
  /** One sentence: how to repair it. There unless `state` is `ok`. */
  remedy?: string;
}

export interface EnvironmentOptions {
  env?: NodeJS.ProcessEnv;
  /** The LibTorch in use, which the GPU and the driver must fit. */
  libtorch?: LibTorch | null;
}

/** Looks at Node, system, tools, addon, CPU, memory and GPU; starts child processes and takes about a second. */
export function describeEnvironment(options?: EnvironmentOptions): Finding[];
