import { basename } from 'node:path';

import { Command } from 'commander';

import { SightlineError } from '../support/errors.js';
import { findMethod } from '../requests/explain-options.js';
import type { Explanation, NamedOptions } from '../requests/explain.js';
import { sharpOf } from '../pictures/canvas.js';
import { contactSheet, type SheetCell } from '../pictures/sheet.js';
import { prepareInput } from '../images/inputs.js';
import { METHODS, type MethodName } from '../methods/index.js';
import { preferredMethod } from '../methods/preferred.js';
import { Model } from '../model/model.js';
import { shortName } from '../model/short-name.js';
import { DEFAULT_MODEL } from '../models/bundled.js';
import { readChunks } from './input-files.js';
import { loadOptions, METHOD_HELP, repeated, withModelFlags, type ModelFlags } from './options.js';
import { preparePicture } from './output-files.js';
import type { Session } from './session.js';
import { describeMap, listPredictions, percent, subjectOf } from './words.js';

interface CompareFlags extends ModelFlags {
  readonly model?: readonly string[];
  readonly method?: readonly string[];
  readonly out: string;
}

/** Pixels across one picture of the sheet. */
const CELL = 256;

export function compareCommand(session: Session): Command {
  return withModelFlags(new Command('compare'))
    .description(
      'Show what several models look at, or what several methods find: one picture with each image beside the maps of the class that each model predicts.',
    )
    .argument('<image...>', 'pictures, or .npy files of preprocessed images')
    .option(
      '--model <model>',
      `a bundled or pulled model, or the path of an archive or an exported program; repeat it for each model (default: ${DEFAULT_MODEL})`,
      repeated,
    )
    .option('--method <method>', `${METHOD_HELP}; repeat it for each method`, repeated)
    .requiredOption('--out <file>', 'the picture to write: .png, .jpg, .webp, .avif, .tiff or .gif')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline compare dog.jpg cat.jpg --model resnet50.pt --model vit.pt --out compared.png
  $ sightline compare dog.jpg --method cam --method grad-cam++ --method gradient --out compared.png
  $ sightline compare dog.jpg --model resnet50.pt --model vit.pt --method grad-cam --out compared.png`,
    )
    .action((images: string[], flags: CompareFlags) => compare(session, images, flags));
}

async function compare(session: Session, images: readonly string[], flags: CompareFlags): Promise<void> {
  const { model: models = [DEFAULT_MODEL] } = flags;
  const asked = flags.method && [...new Set(flags.method)];
  for (const method of asked ?? []) findMethod(method);
  await preparePicture(flags.out);
  // What does not apply to the last model is reported before the first one computes.
  if (models.length > 1) {
    for (const name of models) {
      await using model = await Model.load(name, loadOptions(flags, session.signal));
      await methodsFor(model, name, asked);
    }
  }

  const rows: SheetCell[][] = [];
  const names: string[] = [];
  const results: object[] = [];
  const heads: string[] = [];
  const lines: string[] = [];
  const shown = shortened(models);
  // One model at a time: what several hold together may not fit into memory.
  for (const [at, name] of models.entries()) {
    await using model = await Model.load(name, loadOptions(flags, session.signal));
    model.notes.forEach(session.note);
    const methods = await methodsFor(model, name, asked);
    heads.push(...methods.map((method) => `${shown[at]} · ${method}`));
    const ofMethods = methods.map(() => ({ results: [] as object[], lines: [] as string[] }));
    const axes = await model.inspect();
    let row = 0;
    for await (const chunk of readChunks(images)) {
      for (const { image, input } of at === 0 ? chunk : []) {
        const { image: picture } = (
          await prepareInput({ input, name: image, heldBytes: null }, model.card.input, axes, {
            signal: session.signal,
          })
        ).picture();
        names.push(image);
        rows.push([
          { image: await sharpOf(picture).resize({ width: CELL }).png().toBuffer(), caption: basename(image) },
        ]);
      }
      const options = methods.map((method) => ({ method, signal: session.signal }) as NamedOptions<MethodName>);
      // Methods that are asked together share the run of the model.
      for (const explanations of await model.explain(
        chunk.map(({ input }) => input),
        options,
      )) {
        const image = names[row]!;
        for (const [i, explanation] of explanations.entries()) {
          rows[row]!.push(await cellOf(explanation));
          const { method, predictions } = explanation;
          const map = explanation.maps[0]!;
          const { index, label } = map.target;
          ofMethods[i]!.results.push({
            image,
            model: name,
            method,
            predictions,
            target: { index, label },
            layer: map.layer,
            min: map.min,
            max: map.max,
            state: map.state,
          });
          ofMethods[i]!.lines.push(
            `${image}, ${name}: ${listPredictions(predictions.slice(0, 3))}`,
            `  ${subjectOf(method, map)}: ${describeMap(map)}`,
          );
        }
        row++;
      }
    }
    for (const each of ofMethods) {
      results.push(...each.results);
      lines.push(...each.lines);
    }
  }
  const sheet = await contactSheet(rows, { columnHeads: ['image', ...heads], cellWidth: CELL });
  await sheet.toFile(flags.out);
  // At the end, when the last model has turned out to do.
  for (const line of [...lines, flags.out]) session.print(line);
  session.answer({ results, picture: flags.out });
}

async function cellOf({ maps, predictions }: Explanation): Promise<SheetCell> {
  return {
    // Painted at once, so that the decoded image of the map can go.
    image: await maps[0]!.overlay({ width: CELL }).toBuffer(),
    caption: predictions
      .slice(0, 2)
      .map(({ label, score }) => `${label} ${percent(score)}`)
      .join(' · '),
  };
}

/** Models by their files' names, as long as those tell them apart. */
function shortened(models: readonly string[]): readonly string[] {
  const names = models.map(shortName);
  return new Set(names).size === new Set(models).size ? names : models;
}

/**
 * The methods that a model is shown by.
 *
 * @throws SightlineError METHOD_NOT_APPLICABLE for the first that cannot explain it; with several models, it must say
 * which one.
 */
async function methodsFor(model: Model, name: string, asked: readonly string[] | undefined): Promise<MethodName[]> {
  const inspection = await model.inspect();
  if (asked === undefined) return [preferredMethod(inspection, name)];
  for (const method of asked as MethodName[]) {
    const reason = METHODS[method].reasonAgainst(inspection);
    if (reason !== null) {
      throw new SightlineError('METHOD_NOT_APPLICABLE', `${name}: ${method} cannot explain it: ${reason}.`, {
        details: { model: name, method },
      });
    }
  }
  return asked as MethodName[];
}
