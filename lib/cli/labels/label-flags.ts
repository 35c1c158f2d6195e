import { Option, type Command } from 'commander';

import { SightlineError } from '../../support/errors.js';
import type { LabelledPicture, Labels, ObjectForm } from './labelled-picture.js';
import { readLabels } from './read-labels.js';

/** Flags of every command that judges maps: where the pictures, their classes and their objects come from. */
export interface LabelFlags {
  readonly target?: string;
  readonly labels?: string;
  readonly images?: string;
  readonly objects?: ObjectForm;
}

/** `target`: what the flag of that name takes. */
export function withLabelFlags(command: Command, target: string): Command {
  return command
    .option('--target <target>', `the class that is explained: ${target} (default: top1)`)
    .option(
      '--labels <path>',
      'pictures with their classes and objects: a folder with one of pictures for each class; Pascal VOC, a folder or one .xml; annotations of COCO; a .csv table with the columns image, target, mask, value, left, top, width, height; or JSON, or a line of JSON each: {"image": "a.jpg", "target": "collie", "boxes": [[left, top, width, height]]}, or "mask": "a.png"',
    )
    .option(
      '--images <folder>',
      'what the pictures of a --labels file are relative to, as COCO has them (default: the folder of the file)',
    )
    .addOption(
      new Option(
        '--objects <form>',
        'what is read of COCO and Pascal VOC (default: masks where all objects have one, else boxes)',
      ).choices(['boxes', 'masks']),
    );
}

/**
 * Checks that pictures come from one place, and their classes too.
 *
 * @throws SightlineError INVALID_OPTION
 */
export function checkLabelFlags(paths: readonly string[], flags: LabelFlags): void {
  const { labels, target } = flags;
  if ((labels === undefined) === (paths.length === 0)) {
    throw new SightlineError(
      'INVALID_OPTION',
      labels === undefined
        ? 'Name pictures, or a file of them by --labels.'
        : '--labels names the pictures; leave the others out.',
    );
  }
  if (labels !== undefined && target !== undefined) {
    throw new SightlineError('INVALID_OPTION', 'The --labels file names the classes; leave --target out.');
  }
  const ofLabels = flags.objects === undefined ? 'images' : 'objects';
  if (labels === undefined && flags[ofLabels] !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      `--${ofLabels} says what is read of a --labels file; give one, or leave it out.`,
    );
  }
}

/**
 * The pictures to judge: all with an object, or none.
 *
 * @throws SightlineError those of `readLabels`, INVALID_OPTION where some have no object
 */
export async function labelledPictures(
  paths: readonly string[],
  { labels, images, objects }: LabelFlags,
): Promise<Labels & { readonly hasObjects: boolean }> {
  const { pictures, notes } =
    labels === undefined
      ? { pictures: paths.map((image): LabelledPicture => ({ image, target: null, object: null })), notes: [] }
      : await readLabels(labels, objects, images);
  const hasObjects = pictures.some(({ object }) => object !== null);
  const without = pictures.find(({ object }) => object === null);
  if (hasObjects && without !== undefined) {
    throw new SightlineError(
      'INVALID_OPTION',
      `${without.image} has no mask and no boxes in ${labels}, and others have; give them to all or to none.`,
    );
  }
  return { pictures, notes, hasObjects };
}
