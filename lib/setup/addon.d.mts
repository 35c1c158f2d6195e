import type { LibTorch } from './libtorch.mjs';

/** An addon that is there. */
export interface Addon {
  file: string;
  /** `prebuilt`: it came with the package; `built`: set-up made it on this machine. */
  kind: 'built' | 'prebuilt';
  /** Clause that says what it is for, such as `prebuilt for LibTorch 2.13`. */
  why: string;
}

export interface Choice {
  addon: Addon;
  libtorch: LibTorch;
}

/** The folder of the addons that come with the package. */
export const PREBUILDS: string;
/** @param version such as `2.13.0+cpu` @returns such as `2.13` */
export function minorOf(version: string): string;
/** Where set-up puts what it builds. */
export function builtAddons(env?: NodeJS.ProcessEnv): string;
/** A built addon's name among the prebuilt ones. */
export function prebuiltName(name: string): string;

/** @throws an Error with one sentence where there is no LibTorch, or no addon for it */
export function chooseAddon(env?: NodeJS.ProcessEnv): Choice;
/** @throws an Error with one sentence where it does not load */
export function loadAddon(choice: Choice): unknown;
