import { basename } from 'node:path';

import { Command } from 'commander';

import type { Tensor } from '../engine/native-types.js';
import type { Capture, CaptureOptions } from '../requests/capture.js';
import { SightlineError } from '../support/errors.js';
import { planesSheet } from '../pictures/planes.js';
import type { Inspection } from '../engine/inspection.js';
import { Model } from '../model/model.js';
import { readAll, type NamedInput } from './input-files.js';
import { loadOptions, withModelFlags, type ModelFlags } from './options.js';
import { OutputFolder, safeName } from './output-files.js';
import type { Session } from './session.js';
import { planesOf, type TapKind } from './tap-planes.js';
import { className } from './words.js';

interface CaptureFlags extends ModelFlags {
  readonly model: string;
  readonly node?: readonly string[];
  readonly attention?: true;
  readonly query?: true;
  readonly key?: true;
  readonly value?: true;
  readonly gradient?: string;
  readonly out: string;
}

interface Tap {
  readonly kind: TapKind;
  /** A node's name, or the number of an attention site. */
  readonly name: string;
  readonly tensor: Tensor;
  readonly gradient: Tensor | null;
}

interface TapResult {
  readonly kind: TapKind;
  readonly name: string;
  readonly shape: readonly number[];
  readonly file: string;
  readonly pictures: readonly string[];
  readonly gradient?: { readonly file: string; readonly pictures: readonly string[] };
}

export function captureCommand(session: Session): Command {
  return withModelFlags(new Command('capture'))
    .description(
      'Read features, attention, queries, keys and values out of a model, with their gradients, as .npy files and as pictures.',
    )
    .argument('<image...>', 'pictures, or .npy files of preprocessed images; arrays have one entry for each')
    .requiredOption('--model <model>', 'a bundled model or the path of an archive or an exported program')
    .option('--node <name...>', 'nodes to read, by the names of `sightline inspect`')
    .option('--attention', "every block's attention probabilities")
    .option('--query', "every block's queries")
    .option('--key', "every block's keys")
    .option('--value', "every block's values")
    .option('--gradient <target>', 'also the gradients of this class: index, label or top1')
    .requiredOption('--out <dir>', 'folder to write to')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline capture dog.jpg --model resnet50.pt --node layer2 layer4 --out taps
  $ sightline capture dog.jpg --model vit.pt --attention --gradient top1 --out taps
  $ sightline capture batch.npy --model vit.pt --query --key --out taps --json`,
    )
    .action((images: string[], flags: CaptureFlags) => capture(session, images, flags));
}

async function capture(session: Session, images: readonly string[], flags: CaptureFlags): Promise<void> {
  if (flags.node === undefined && !flags.attention && !flags.query && !flags.key && !flags.value) {
    throw new SightlineError(
      'INVALID_OPTION',
      'Nothing to capture; give --node NAME, --attention, --query, --key or --value.',
    );
  }
  const inputs = await readAll(images);
  const folder = await OutputFolder.create(flags.out, '--out');
  await using model = await Model.load(flags.model, loadOptions(flags, session.signal));
  model.notes.forEach(session.note);
  const captured = await model.capture(
    inputs.map(({ input }) => input),
    requestOf(session, flags),
  );
  const inspection = await model.inspect();

  const taps: TapResult[] = [];
  for (const tap of tapsOf(captured)) {
    const name = tap.kind === 'feature' ? safeName(tap.name) || 'feature' : `${tap.kind}-${tap.name}`;
    const write = async (tensor: Tensor, as: string): Promise<{ file: string; pictures: string[] }> => ({
      file: await folder.array(as, tensor),
      pictures: await drawn(folder, as, tap, tensor, inspection, inputs),
    });
    taps.push({
      kind: tap.kind,
      name: tap.name,
      shape: tap.tensor.shape,
      ...(await write(tap.tensor, name)),
      ...(tap.gradient && { gradient: await write(tap.gradient, `${name}-gradient`) }),
    });
  }
  const targets = captured.targets.map((index) => ({ index, label: model.labels[index]! }));
  const logits = captured.logits && (await folder.array('logits', captured.logits));
  session.answer({
    model: flags.model,
    images: inputs.map(({ image }) => image),
    operators: captured.operators,
    targets,
    ...(logits !== null && { logits }),
    taps,
  });

  session.print(
    `${inputs.length} ${inputs.length === 1 ? 'image' : 'images'}, ${captured.operators} of the model's operators run`,
  );
  targets.forEach((target, i) => session.print(`${inputs[i]!.image}: gradients of ${className(target)}`));
  for (const { kind, name, shape, file, pictures, gradient } of taps) {
    session.print(`${kind} ${name} [${shape.join(', ')}]`);
    for (const path of [file, ...pictures, ...(gradient ? [gradient.file, ...gradient.pictures] : [])]) {
      session.print(`  ${path}`);
    }
  }
  if (logits !== null) session.print(`logits\n  ${logits}`);
}

function requestOf(session: Session, flags: CaptureFlags): CaptureOptions {
  const { node, attention, query, key, value, gradient } = flags;
  return {
    features: node && [...new Set(node)],
    attention: attention && 'all',
    query: query && 'all',
    key: key && 'all',
    value: value && 'all',
    gradients: gradient === undefined ? undefined : { target: gradient },
    signal: session.signal,
  };
}

function tapsOf(captured: Capture): Tap[] {
  const kinds = [
    ['feature', 'features'],
    ['attention', 'attention'],
    ['query', 'query'],
    ['key', 'key'],
    ['value', 'value'],
  ] as const;
  return kinds.flatMap(([kind, field]) => {
    const gradients = captured.gradients?.[field] as Record<string, Tensor> | undefined;
    return Object.entries(captured[field] as Record<string, Tensor>).map(([name, tensor]) => ({
      kind,
      name,
      tensor,
      gradient: gradients?.[name] ?? null,
    }));
  });
}

/** One picture for each image. */
async function drawn(
  folder: OutputFolder,
  name: string,
  tap: Tap,
  tensor: Tensor,
  inspection: Inspection,
  inputs: readonly NamedInput[],
): Promise<string[]> {
  const [count, ...shape] = tensor.shape;
  const size = tensor.data.length / count!;
  const layout = inspection.nodes.find((node) => node.name === tap.name)?.layout ?? 'other';
  const paths: string[] = [];
  for (let i = 0; i < count!; i++) {
    const one = { data: tensor.data.subarray(i * size, (i + 1) * size), shape };
    const { planes, total, what } = planesOf(one, tap.kind, layout, inspection.tokens);
    if (planes.length === 0) continue;
    const { image, base } = inputs[i]!;
    const part =
      total === 1
        ? ''
        : planes.length < total
          ? ` · the first ${planes.length} of ${total} ${what}`
          : ` · ${total} ${what}`;
    const sheet = await planesSheet(planes, {
      title: `${name}${part} · ${basename(image)}`,
      columns: Math.min(8, planes.length),
    });
    paths.push(await folder.picture(`${safeName(base) || 'image'}-${name}`, sheet));
  }
  return paths;
}
