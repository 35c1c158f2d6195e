import { stat } from 'node:fs/promises';
import { relative } from 'node:path';

import { Command } from 'commander';

import { SightlineError } from '../support/errors.js';
import { findPulled } from '../hub/index.js';
import { locateModel } from '../model/locate.js';
import { bundledNames } from '../models/bundled.js';
import type { ModelCard } from '../models/card.js';
import { catalog, type CatalogCard } from '../models/catalog.js';
import { withJsonFlag } from './options.js';
import type { Session } from './session.js';
import { aligned, megabytes, short } from './words.js';

export function modelsCommand(session: Session): Command {
  return withJsonFlag(new Command('models'))
    .description('List the models that come with sightline, and those that it can pull.')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline models
  $ sightline models --json`,
    )
    .action(() => models(session));
}

async function models(session: Session): Promise<void> {
  const list = await Promise.all((await bundledNames()).map(describe));
  const pullable = await Promise.all((await catalog()).map((card) => describePullable(card, session)));
  session.answer({ models: list, catalog: pullable });
  if (list.length === 0) {
    session.print('No models came with this copy of sightline; give the path of a TorchScript archive to --model.');
  }
  for (const { name, path, bytes, description, classes, input, accuracy, license, source } of list) {
    const facts = [
      ['classes', classes === null ? 'as the archive has' : String(classes)],
      ['input', `${input.width} x ${input.height}`],
      ['size', `${megabytes(bytes)}, ${relative(process.cwd(), path)}`],
      [
        'accuracy',
        accuracy === null
          ? null
          : Object.entries(accuracy)
              .map(([key, value]) => `${key} ${String(value)}`)
              .join(', '),
      ],
      ['license', license],
      ['source', source],
    ];
    session.print(description === null ? name : `${name}: ${description}`);
    for (const line of aligned(facts.filter((fact): fact is [string, string] => fact[1] !== null))) session.print(line);
  }
  if (pullable.length === 0) return;
  session.print('');
  session.print('Pretrained, fetched by `sightline pull NAME`:');
  const rows = pullable.map(({ name, bytes, parameters, flops, license, isHere }) => [
    name,
    bytes === null ? '' : megabytes(bytes),
    `${short(parameters / 1e6)} M parameters`,
    `${short(flops / 1e9)} GFLOP`,
    license ?? '',
    isHere ? 'here' : '',
  ]);
  for (const line of aligned(rows)) session.print(line);
}

async function describePullable(card: CatalogCard, session: Session) {
  const {
    name,
    description = null,
    architecture,
    weights,
    parameters,
    flops,
    input,
    license = null,
    source = null,
  } = card;
  const { repository, file, revision, bytes = null } = weights;
  let files: readonly string[] | null = null;
  try {
    files = (await findPulled(name))?.files ?? null;
  } catch (error) {
    // One damaged entry of the cache must not hide the others.
    if (!(error instanceof SightlineError)) throw error;
    session.note(error.message);
  }
  return {
    name,
    description,
    architecture,
    bytes,
    parameters,
    flops,
    input,
    license,
    source,
    repository,
    file,
    revision,
    isHere: files !== null,
    files,
  };
}

async function describe(name: string) {
  const { path, card } = await locateModel(name);
  // A bundled model is one that has a card.
  const { description = null, input, labels, license = null, source = null, training } = card as ModelCard;
  const { size: bytes } = await stat(path);
  const classes = labels === undefined ? null : labels === 'imagenet-1k' ? 1000 : labels.length;
  const accuracy = (training?.['accuracy'] ?? null) as Record<string, unknown> | null;
  return { name, path, bytes, description, classes, labels: labels ?? null, input, accuracy, license, source };
}
