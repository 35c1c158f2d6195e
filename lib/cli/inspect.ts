import { Command } from 'commander';

import type { ModelInspection } from '../model/inspections.js';
import { Model } from '../model/model.js';
import { loadOptions, withModelFlags, type ModelFlags } from './options.js';
import type { Session } from './session.js';
import { aligned, megabytes, short } from './words.js';

export function inspectCommand(session: Session): Command {
  return withModelFlags(new Command('inspect'))
    .description(
      'Show what a model consists of: its nodes by name, its attention, tokens and head, and which methods can explain it.',
    )
    .argument('<model>', 'a bundled model or the path of an archive or an exported program')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline inspect resnet-tiny-shapes
  $ sightline inspect vit.pt --json`,
    )
    .action((model: string, flags: ModelFlags) => inspect(session, model, flags));
}

async function inspect(session: Session, name: string, flags: ModelFlags): Promise<void> {
  await using model = await Model.load(name, loadOptions(flags, session.signal));
  model.notes.forEach(session.note);
  const found = await model.inspect();
  const { path, device, weightBytes, card } = model;
  session.answer({
    model: name,
    path,
    device,
    dtype: flags.dtype,
    weightBytes,
    input: card.input,
    labels: model.labels,
    ...found,
  });
  for (const line of describe(model, found)) session.print(line);
}

/** What is scored: classes of the image, of masks, or of boxes. */
function classesOf(model: Model, { classes, dense }: ModelInspection): readonly [string, string] {
  if (dense === null) {
    return ['classes', `${classes}: ${model.labels.slice(0, 3).join(', ')}${classes > 3 ? ', ...' : ''}`];
  }
  if (dense.kind === 'unknown') return ['classes', `none. ${dense.reason}`];
  const many = dense.kind === 'masks' ? `${dense.width} x ${dense.height} places` : `${dense.boxes} boxes`;
  return [dense.kind, `${dense.classes} classes for each of ${many}`];
}

function describe(model: Model, found: ModelInspection): string[] {
  const { nodes, attention, tokens, head, methods } = found;
  const { mean, std, resize, interpolation, crop } = model.card.input;
  const size = Array.isArray(resize.size) ? resize.size.join(' x ') : String(resize.size);
  const facts = [
    ['archive', `${model.path}, weights ${megabytes(model.weightBytes)}${found.isQuantized ? ', quantized' : ''}`],
    ['device', model.device],
    [
      'input',
      `${found.width} x ${found.height}, ${resize.mode === 'exact' ? `resized to ${size}` : `shorter side to ${size}`}, ${interpolation}${crop === 'center' ? ', center crop' : ''}, mean ${mean.join(' ')}, std ${std.join(' ')}`,
    ],
    classesOf(model, found),
    [
      'head',
      head === null
        ? 'not one linear layer on a pooled feature'
        : `linear on the mean of ${head.feature} (${head.channels} channels, ${head.layout})`,
    ],
    [
      'tokens',
      tokens === null
        ? 'none'
        : `${tokens.height} x ${tokens.width} patches after ${tokens.prefix} other tokens${tokens.suffix > 0 ? ` and before ${tokens.suffix}` : ''}, ${tokens.classToken === null ? 'the mean of the patches is classified' : `token ${tokens.classToken} is classified`}`,
    ],
    ['target layer', found.targetLayer === '' ? 'none' : found.targetLayer],
    [
      'one run',
      `${found.operators} operators, ${megabytes(found.activationBytes)} of activations for one image${found.flops === null ? '' : `, ${short(found.flops / 1e9)} GFLOP`}`,
    ],
    [
      'parameters',
      found.parameters === null ? 'not counted: the model is quantized' : found.parameters.toLocaleString('en-US'),
    ],
    [
      'node names',
      found.hasModuleNames ? 'module paths' : 'by structure: the archive is frozen and has no module paths',
    ],
  ] as const;
  return [
    ...aligned(facts, ''),
    '',
    `${nodes.length} nodes`,
    ...aligned(nodes.map((node) => [node.name, `[${node.shape.join(', ')}]`, node.layout])),
    '',
    attention.length === 0 ? 'no attention' : `${attention.length} attention sites`,
    ...aligned(
      attention.map((site, i) => [
        String(i),
        site.name,
        site.form,
        `${site.heads} heads of ${site.headSize}`,
        `${site.tokens} tokens${site.windows > 1 ? ` in each of ${site.windows} windows` : ''}`,
        site.unsupported === '' ? '' : `not tapped: ${site.unsupported}`,
      ]),
    ),
    '',
    'methods',
    ...aligned(methods.map(({ name, applies, reason }) => [name, applies ? 'applies' : `does not apply: ${reason}`])),
  ];
}
