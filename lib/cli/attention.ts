import { basename } from 'node:path';

import { Command, InvalidArgumentError, Option } from 'commander';

import { attentionMapRequest, type AttentionMap, type AttentionMapOptions } from '../requests/attention-maps.js';
import { SightlineError } from '../support/errors.js';
import { COLORMAPS, type Colormap } from '../pictures/colormaps.js';
import { planesSheet } from '../pictures/planes.js';
import { Model } from '../model/model.js';
import { attentionSheet } from './attention-sheet.js';
import { readAll } from './input-files.js';
import { loadOptions, wholeNumber, withModelFlags, type ModelFlags } from './options.js';
import { OutputFolder, preparePicture } from './output-files.js';
import type { Session } from './session.js';

type Of = NonNullable<AttentionMapOptions['of']>;

interface AttentionFlags extends ModelFlags {
  readonly model: string;
  readonly block?: number;
  readonly head?: number;
  readonly channel?: number;
  readonly of: Of;
  readonly contrast?: 'none' | 'sigmoid';
  readonly colormap?: Colormap;
  readonly out: string;
  readonly npy?: string;
}

export function attentionCommand(session: Session): Command {
  return withModelFlags(new Command('attention'))
    .description(
      'Show what the class token attends to in every block and head, or the queries, keys and values of every patch.',
    )
    .argument('<image>', 'a picture, or a .npy file of one preprocessed image')
    .requiredOption('--model <model>', 'a bundled model or the path of an archive or an exported program')
    .option('--block <number>', 'only this block, from 0', wholeNumber(0))
    .option('--head <number>', 'only this head, from 0', wholeNumber(0))
    .addOption(
      new Option('--of <what>', 'probabilities, or q (query), k (key), v (value)')
        .default('probabilities')
        .argParser(longName),
    )
    .option('--channel <number>', 'only this channel of q, k or v, from 0', wholeNumber(0))
    .addOption(
      new Option(
        '--contrast <kind>',
        'sigmoid: 1 / (1 + e^-x), which sets positive from negative numbers of q, k or v',
      ).choices(['none', 'sigmoid']),
    )
    .addOption(new Option('--colormap <name>', 'colors (default: viridis)').choices(COLORMAPS))
    .requiredOption('--out <file>', 'the picture to write: .png, .jpg, .webp, .avif, .tiff or .gif')
    .option('--npy <dir>', 'also write all maps as .npy, one file per block')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline attention dog.jpg --model vit.pt --out attention.png
  $ sightline attention dog.jpg --model vit.pt --of q --block 11 --contrast sigmoid --out queries.png
  $ sightline attention dog.jpg --model vit.pt --of key --head 3 --out keys.png --npy arrays --json`,
    )
    .action((image: string, flags: AttentionFlags) => attention(session, image, flags));
}

async function attention(session: Session, image: string, flags: AttentionFlags): Promise<void> {
  const { of, block, head, channel, contrast } = flags;
  const options = { of, block, head, channel, contrast, signal: session.signal };
  attentionMapRequest(options);
  await preparePicture(flags.out);
  const folder = flags.npy === undefined ? null : await OutputFolder.create(flags.npy, '--npy');
  const inputs = await readAll([image]);
  if (inputs.length > 1) {
    throw new SightlineError(
      'INVALID_INPUT',
      `${image} holds ${inputs.length} images; attention draws one, so give a file of one.`,
    );
  }

  await using model = await Model.load(flags.model, loadOptions(flags, session.signal));
  model.notes.forEach(session.note);
  const maps = await model.attention(inputs[0]!.input, options);

  const sheet = attentionSheet(maps);
  if (sheet.note !== null) session.note(sheet.note);
  // Where there is no class token, the classifier reads the mean of the patches.
  const reader =
    ((await model.inspect()).tokens?.classToken ?? null) === null ? 'the mean of the patches' : 'the class token';
  const what =
    of === 'probabilities'
      ? `what ${reader} attends to`
      : `${of} of each patch${contrast === 'sigmoid' ? ', sigmoid' : ''}`;
  const picture = await planesSheet(sheet.planes, {
    ...sheet.heads,
    columns: sheet.columns,
    title: `${what}${sheet.scope} · ${basename(image)}`,
    // Values of a sigmoid lie in [0, 1] by themselves; stretched again they would lose their middle.
    contrast: contrast === 'sigmoid' ? 'none' : 'minmax',
    colormap: flags.colormap,
  });
  await picture.toFile(flags.out);

  const blocks = [];
  for (const number of new Set(maps.map((map) => map.block))) {
    const ofBlock = maps.filter((map) => map.block === number);
    const heads = [...new Set(ofBlock.map((map) => map.head))];
    const channels = of === 'probabilities' ? null : [...new Set(ofBlock.map((map) => map.channel!))];
    const array = stacked(ofBlock, heads.length, channels?.length ?? null);
    blocks.push({
      block: number,
      heads,
      channels,
      shape: array.shape,
      ...(folder && { file: await folder.array(`${of}-block-${number}`, array) }),
    });
  }
  session.answer({
    image,
    model: flags.model,
    of,
    contrast: contrast ?? 'none',
    blocks,
    picture: flags.out,
    drawn: sheet.planes.length,
    maps: maps.length,
  });

  for (const { block: number, shape, ...rest } of blocks) {
    session.print(`block ${number}: [${shape.join(', ')}]${'file' in rest ? `  ${rest.file}` : ''}`);
  }
  session.print(`${sheet.planes.length} of ${maps.length} maps drawn in ${flags.out}`);
}

/** [heads, (channels,) H, W] of one block. */
function stacked(
  maps: readonly AttentionMap[],
  heads: number,
  channels: number | null,
): { data: Float32Array; shape: number[] } {
  const [height, width] = maps[0]!.shape;
  const data = new Float32Array(maps.length * height * width);
  maps.forEach((map, i) => data.set(map.data, i * height * width));
  return { data, shape: channels === null ? [heads, height, width] : [heads, channels, height, width] };
}

const LONG_NAMES: Readonly<Record<string, Of>> = {
  q: 'query',
  k: 'key',
  v: 'value',
  query: 'query',
  key: 'key',
  value: 'value',
  probabilities: 'probabilities',
};

function longName(value: string): Of {
  if (Object.hasOwn(LONG_NAMES, value)) return LONG_NAMES[value]!;
  throw new InvalidArgumentError('Give q, k, v (or query, key, value) or probabilities.');
}
