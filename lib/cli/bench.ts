import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Command, InvalidArgumentError } from 'commander';

import { bench, DEFAULT_METHODS, type BenchOptions } from '../bench/bench.js';
import { compareReports } from '../bench/compare.js';
import { costPlot, latencyPlot, throughputPlot } from '../bench/plots/plots.js';
import { readReport, type BenchReport } from '../bench/report.js';
import { comparisonLines, reportLines } from '../bench/table.js';
import { SightlineError } from '../support/errors.js';
import { decimal, repeated, wholeNumber, withJsonFlag } from './options.js';
import { OutputFolder } from './output-files.js';
import type { Session } from './session.js';

interface BenchFlags {
  readonly model?: readonly string[];
  readonly method?: readonly string[];
  readonly capture?: readonly string[];
  readonly batch?: readonly number[];
  readonly concurrency?: readonly number[];
  readonly device?: readonly string[];
  readonly dtype?: readonly ('f32' | 'bf16' | 'f16')[];
  readonly threads?: number;
  readonly rounds?: number;
  readonly warmup?: number;
  readonly size?: number;
  readonly requests?: number;
  readonly maxBatch?: number;
  readonly maxDelay?: number;
  readonly images?: string;
  readonly seed?: number;
  readonly out?: string;
  readonly compare?: string;
  readonly from?: string;
  readonly json?: true;
}

export function benchCommand(session: Session): Command {
  return withJsonFlag(new Command('bench'))
    .description(
      'Measure throughput by batch size, latency by concurrency, memory, and what each method costs over the plain forward pass.',
    )
    .option(
      '--model <model>',
      'a bundled model or the path of an archive or an exported program; may be repeated',
      repeated,
    )
    .option(
      '--method <method>',
      `a method, several with commas between, or one with options of explain: gae:targets=top10, grad-cam:layer=layer3; may be repeated (default: ${DEFAULT_METHODS.join(', ')}, as far as they apply)`,
      methods,
    )
    .option(
      '--capture <node>',
      'also capture this node, the node a share of the way (50%), or all attention (attention); may be repeated',
      repeated,
    )
    .option(
      '--batch <sizes>',
      'batch sizes whose throughput is measured, such as 1,8,32 (default: 1,8, unless only --concurrency is given)',
      listOf(wholeNumber(1)),
    )
    .option(
      '--concurrency <counts>',
      'numbers of callers whose latency is measured, such as 1,4,16 (default: 1,8, unless only --batch is given)',
      listOf(wholeNumber(1)),
    )
    .option(
      '--device <devices>',
      'cpu, cuda, cuda:N or auto, or several with commas between (default: auto)',
      listOf(device),
    )
    .option('--dtype <types>', 'f32, bf16, f16, or several with commas between (default: f32)', listOf(dtype))
    .option('--threads <count>', 'CPU threads (default: all cores)', wholeNumber(1))
    .option('--rounds <count>', 'rounds that count: each runs every job once (default: 9)', wholeNumber(1))
    .option('--warmup <count>', 'rounds before them, which are dropped (default: 2)', wholeNumber(1))
    .option(
      '--size <pixels>',
      "side of the images, for models that take it (default: the model's own size)",
      wholeNumber(1),
    )
    .option(
      '--requests <count>',
      'requests of one round of concurrent callers, at least one each (default: four each, at least 16)',
      wholeNumber(1),
    )
    .option(
      '--max-batch <count>',
      'most images that concurrent requests are gathered into (default: 8 on the CPU, 32 on CUDA)',
      wholeNumber(1),
    )
    .option('--max-delay <ms>', 'how long a batch that is not full waits for more (default: 0)', milliseconds)
    .option(
      '--images <dir>',
      'with --concurrency: also measure each method from the files of this folder to overlays in files',
    )
    .option('--seed <number>', 'of the random inputs (default: 0)', wholeNumber(0))
    .option('--out <dir>', 'write bench.json, throughput.svg, latency.svg and cost.svg to this folder')
    .option('--compare <file>', 'tell what changed since the bench.json of an earlier run')
    .option('--from <file>', 'measure nothing: show, draw and compare the bench.json of an earlier run')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline bench --model resnet50.pt --model vit.pt --batch 1,8,32 --dtype f32,bf16 --out before
  $ sightline bench --model vit.pt --method attention-rollout,gae --concurrency 1,4,16 --json
  $ sightline bench --model vit-tiny-shapes --method attention-rollout --concurrency 64 --images photos
  $ sightline bench --from after/bench.json --compare before/bench.json`,
    )
    .action((flags: BenchFlags) => run(session, flags));
}

async function run(session: Session, flags: BenchFlags): Promise<void> {
  const { from, compare, out, json: _, ...measuring } = flags;
  if (from === undefined && flags.model === undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      'There is nothing to measure; name a model with --model, or an earlier run with --from.',
    );
  }
  if (from !== undefined && Object.keys(measuring).length > 0) {
    throw new SightlineError(
      'INVALID_OPTION',
      '--from measures nothing, so that only --compare, --out and --json go with it.',
    );
  }
  if (flags.images !== undefined && flags.concurrency === undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      '--images is measured by concurrent requests; say how many with --concurrency.',
    );
  }
  if (flags.images !== undefined && flags.size !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      "--images are brought to the model's own size, so --size does not go with them; leave one out.",
    );
  }
  // What can fail before anything is measured should: the folder, the earlier report.
  const before = compare === undefined ? null : await readReport(compare);
  if (out !== undefined) await OutputFolder.create(out, '--out');

  const report = from !== undefined ? await readReport(from) : await bench(optionsOf(session, measuring));
  const comparison = before === null ? null : compareReports(before, report);
  if (out !== undefined) await writeReport(out, report, session);
  for (const line of [...reportLines(report), ...(comparison === null ? [] : comparisonLines(comparison))]) {
    session.print(line);
  }
  session.answer({ ...report, ...(comparison !== null && { comparison }) });
}

function optionsOf(
  { signal, progress, note }: Session,
  { model, method, capture, batch, device, dtype, ...rest }: BenchFlags,
): BenchOptions {
  return {
    ...rest,
    models: model ?? [],
    methods: method,
    captures: capture,
    batches: batch,
    devices: device,
    dtypes: dtype,
    signal,
    onProgress: progress,
    onNote: note,
  };
}

async function writeReport(folder: string, report: BenchReport, session: Session): Promise<void> {
  const plots = { throughput: throughputPlot(report), latency: latencyPlot(report), cost: costPlot(report) };
  const files: [string, string | null][] = [
    ['bench.json', `${JSON.stringify(report, null, 2)}\n`],
    ...Object.entries(plots).map(([name, svg]): [string, string | null] => [`${name}.svg`, svg]),
  ];
  for (const [name, text] of files) {
    const path = join(folder, name);
    if (text === null) {
      session.note(`${path} is not written: nothing that it would show was measured.`);
      continue;
    }
    try {
      await writeFile(path, text);
    } catch (cause) {
      throw new SightlineError('INVALID_OPTION', `${path} cannot be written: ${(cause as Error).message}.`, { cause });
    }
  }
}

/** A parser of values with commas between; repeated flags add to the list. */
function listOf<T>(parse: (value: string) => T): (text: string, before: readonly T[] | undefined) => T[] {
  return (text, before) => [...(before ?? []), ...text.split(',').map((part) => parse(part.trim()))];
}

function milliseconds(value: string): number {
  const number = decimal(value);
  if (number < 0) throw new InvalidArgumentError('Give a number of at least 0.');
  return number;
}

/** What cannot be a device is refused before the first of the list is measured; which there are, `Model.load` knows. */
function device(value: string): string {
  if (!/^(auto|cpu|cuda(:(\d+|all))?)$/.test(value)) throw new InvalidArgumentError('Give cpu, cuda, cuda:N or auto.');
  return value;
}

function dtype(value: string): string {
  if (!['f32', 'bf16', 'f16'].includes(value)) throw new InvalidArgumentError('Give f32, bf16 or f16.');
  return value;
}

/** A method with options is one value, since its options may hold commas. */
function methods(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), ...(text.includes(':') ? [text] : text.split(',').map((part) => part.trim()))];
}
