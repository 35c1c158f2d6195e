import { InvalidArgumentError, Option, type Command } from 'commander';

import { SightlineError } from '../support/errors.js';
import { PREFERENCE } from '../methods/preferred.js';
import { METHOD_NAMES } from '../methods/index.js';
import type { LoadOptions } from '../model/load.js';

/** Flags of every command that loads a model. */
export interface ModelFlags {
  readonly device: NonNullable<LoadOptions['device']>;
  readonly dtype: NonNullable<LoadOptions['dtype']>;
  readonly threads?: number;
  readonly trust?: boolean;
  readonly isolate?: boolean;
  readonly output?: string;
}

export function withModelFlags(command: Command): Command {
  return withJsonFlag(command)
    .addOption(
      new Option('--device <device>', 'cpu, cuda, cuda:N, cuda:all, or auto: the first GPU if there is one')
        .default('auto')
        .argParser(device),
    )
    .addOption(
      new Option('--dtype <type>', 'of weights and activations').choices(['f32', 'bf16', 'f16']).default('f32'),
    )
    .option('--threads <count>', 'CPU threads of the process (default: all cores)', wholeNumber(1))
    .option(
      '--output <name>',
      'of a model that returns several, the output that is explained: its name, or its place in a tuple or list',
    )
    .option('--trust', 'let the archive run operators that image classifiers do not need')
    .option('--isolate', 'open the archive in a process of its own first, limited in time and memory');
}

/** How `--method` is described where it may be left out. */
export const METHOD_HELP = `${METHOD_NAMES.join(', ')} (default: ${PREFERENCE})`;

export function withJsonFlag(command: Command): Command {
  return command.option('--json', 'print one JSON document and nothing else on stdout');
}

export function loadOptions(flags: ModelFlags, signal: AbortSignal): LoadOptions {
  const { device, dtype, threads, trust, isolate, output } = flags;
  return { device, dtype, threads, trust, isolate, output, signal };
}

/** Collects an option that may be given several times. */
export function repeated(value: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), value];
}

/** A parser of whole numbers of at least `least`. */
export function wholeNumber(least: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || !Number.isSafeInteger(number) || number < least) {
      throw new InvalidArgumentError(`Give a whole number of at least ${least}.`);
    }
    return number;
  };
}

export function decimal(value: string): number {
  const number = Number(value);
  if (value.trim() === '' || !Number.isFinite(number)) throw new InvalidArgumentError('Give a number.');
  return number;
}

/** `--option key=value`, one at a time: the value as JSON where it is JSON, else as text. */
export function keyValue(text: string, before: Readonly<Record<string, unknown>> | undefined): Record<string, unknown> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Give key=value, such as discardRatio=0.9.');
  const key = text.slice(0, at);
  const value = text.slice(at + 1);
  try {
    return { ...before, [key]: JSON.parse(value) as unknown };
  } catch {
    return { ...before, [key]: value };
  }
}

/** What `explain` takes beside a method's own options, and the flag to use instead. */
const HAS_A_FLAG: Readonly<Record<string, string>> = {
  method: '--method',
  targets: '--target',
  layer: '--layer',
  size: '--size',
  raw: '--raw',
};

/** @throws SightlineError INVALID_OPTION for an option that has a flag of its own, which it would overrule. */
export function checkOwnOptions(options: Readonly<Record<string, unknown>>): void {
  for (const [key, flag] of Object.entries(HAS_A_FLAG)) {
    if (Object.hasOwn(options, key)) {
      throw new SightlineError('INVALID_OPTION', `--option ${key}=... is not taken; use ${flag}.`);
    }
  }
  if (Object.hasOwn(options, 'signal')) {
    throw new SightlineError('INVALID_OPTION', '--option signal=... is not taken; interrupt with Ctrl-C.');
  }
}

function device(value: string): string {
  if (!/^(auto|cpu|cuda(:(\d+|all))?)$/.test(value)) {
    throw new InvalidArgumentError('Give cpu, cuda, cuda:N or auto, or cuda:all for all GPUs.');
  }
  return value;
}
