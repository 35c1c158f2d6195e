/** A LibTorch that can be built and run against. */
export interface LibTorch {
  /** Absolute path of the folder that holds `lib/` and `include/`. */
  root: string;
  /** As the build states it, such as `2.13.0+cpu`. */
  version: string;
  /** CUDA version of the build, such as `13.0`; `null` for a CPU build; `'unknown'` where the build does not say. */
  cuda: string | null;
  origin: 'LIBTORCH' | 'cache' | 'python';
  /** Clause that says why this one was taken. */
  why: string;
}

/** One place that was looked at and why it was not taken. */
export interface Refusal {
  origin: 'LIBTORCH' | 'cache' | 'python';
  place: string;
  why: string;
}

export interface Search {
  found: LibTorch | null;
  tried: Refusal[];
}

export interface Platform {
  os: string;
  arch: string;
  /** Version of glibc, or `null` with another C library such as musl. */
  glibc: string | null;
}

export interface SearchOptions {
  env?: NodeJS.ProcessEnv;
  /** What a relative `LIBTORCH` is relative to. */
  cwd?: string;
  platform?: Platform;
  /** False: a LibTorch without headers will do, as it does to run. */
  headers?: boolean;
  /** In place of asking Python: the root that it answered with before, or null. */
  remembered?: string | null;
}

export type Inspection =
  { problem: null; version: string; cuda: string | null } | { problem: string; version: string | null; cuda: null };

export const SUPPORTED: Readonly<{ first: string; last: string }>;
export function currentPlatform(): Platform;
/** @throws an Error with one sentence where no LibTorch exists for the platform */
export function requirePlatform(platform: Platform): void;
/** @throws an Error with one sentence on an unsupported platform or a wrong `LIBTORCH` */
export function findLibTorch(options?: SearchOptions): Search;
export function inspectLibTorch(root: string, platform?: Platform, headers?: boolean): Inspection;
export function isSupported(version: string): boolean;
export function compareVersions(a: string, b: string): number;
