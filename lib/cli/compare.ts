import { basename, extname } from 'node:path';

import { Command } from 'commander';

import { SightlineError } from '../errors.js';
import { findMethod, type Explanation, type NamedOptions } from '../explain.js';
import { sharpOf } from '../images/canvas.js';
import { contactSheet, type SheetCell } from '../images/sheet.js';
import { prepareInput } from '../inputs.js';
import { METHOD_NAMES, type MethodName } from '../methods/index.js';
import { Model, type ModelInspection } from '../model.js';
import { readChunks } from './input-files.js';
import { loadOptions, repeated, withModelFlags, type ModelFlags } from './options.js';
import { preparePicture, writePicture } from './output-files.js';
import type { Session } from './session.js';
import { describeMap, listPredictions, percent, subjectOf } from './words.js';

interface CompareFlags extends ModelFlags {
  readonly model: readonly string[];
  readonly method?: string;
  readonly out: string;
}

/** Pixels across one picture of the sheet. */
const CELL = 256;

/** The first that applies is the one that a model is shown by unless told otherwise. */
const PREFERRED: readonly MethodName[] = ['cam', 'attention-rollout', 'grad-cam'];

export function compareCommand(session: Session): Command {
  return withModelFlags(new Command('compare'))
    .description("Show what several models look at: one picture with each image beside each model's map of the class that it predicts.")
    .argument('<image...>', 'pictures, or .npy files of preprocessed images')
    .requiredOption('--model <model>', 'a bundled model or the path of a TorchScript archive; repeat it for each model', repeated)
    .option('--method <method>', `${METHOD_NAMES.join(', ')} (default: cam where the model pools into one linear layer, else attention-rollout)`)
    .requiredOption('--out <file>', 'the picture to write: .png, .jpg, .webp, .avif or .tiff')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline compare dog.jpg cat.jpg --model resnet50.pt --model vit.pt --out compared.png
  $ sightline compare dog.jpg --model resnet50.pt --model vit.pt --method grad-cam --out compared.png`,
    )
    .action((images: string[], flags: CompareFlags) => compare(session, images, flags));
}

async function compare(session: Session, images: readonly string[], flags: CompareFlags): Promise<void> {
  if (flags.method !== undefined) findMethod(flags.method);
  await preparePicture(flags.out);

  const rows: SheetCell[][] = [];
  const names: string[] = [];
  const results: object[] = [];
  const methods: string[] = [];
  const lines: string[] = [];
  // One model at a time: what several hold together may not fit into memory.
  for (const [column, name] of flags.model.entries()) {
    await using model = await Model.load(name, loadOptions(flags));
    model.notes.forEach(session.note);
    const method = flags.method === undefined ? preferredMethod(name, await model.inspect()) : (flags.method as MethodName);
    methods.push(method);
    let row = 0;
    for await (const chunk of readChunks(images)) {
      for (const { image, input } of column === 0 ? chunk : []) {
        const { image: picture } = (await prepareInput({ input, name: image, heldBytes: null }, model.card.input, { signal: session.signal })).picture();
        names.push(image);
        rows.push([{ image: await sharpOf(picture).resize({ width: CELL }).png().toBuffer(), caption: basename(image) }]);
      }
      const options = { method, signal: session.signal } as NamedOptions<MethodName>;
      const explanations = await named(name, () => model.explain(chunk.map(({ input }) => input), options));
      for (const explanation of explanations) {
        const image = names[row]!;
        rows[row++]!.push(await cellOf(explanation));
        const { predictions } = explanation;
        const [map] = explanation.maps as [Explanation['maps'][number]];
        const { index, label } = map.target;
        results.push({ image, model: name, method, predictions, target: { index, label }, layer: map.layer, min: map.min, max: map.max, state: map.state });
        lines.push(`${image}, ${name}: ${listPredictions(predictions.slice(0, 3))}`, `  ${subjectOf(method, map)}: ${describeMap(map)}`);
      }
    }
  }
  const sheet = await contactSheet(rows, {
    columnHeads: ['image', ...shortened(flags.model).map((name, i) => `${name} · ${methods[i]}`)],
    cellWidth: CELL,
  });
  await writePicture(flags.out, sheet);
  // At the end, when the last model has turned out to do.
  for (const line of [...lines, flags.out]) session.print(line);
  session.answer({ results, picture: flags.out });
}

async function cellOf({ maps, predictions }: Explanation): Promise<SheetCell> {
  return {
    // Painted at once, so that the decoded image behind the map can go.
    image: await maps[0]!.overlay({ width: CELL }).toBuffer(),
    caption: predictions
      .slice(0, 2)
      .map(({ label, score }) => `${label} ${percent(score)}`)
      .join(' · '),
  };
}

/** Models by their files' names, as long as those tell them apart. */
function shortened(models: readonly string[]): readonly string[] {
  const names = models.map((model) => basename(model, extname(model)));
  return new Set(names).size === new Set(models).size ? names : models;
}

function preferredMethod(name: string, { methods }: ModelInspection): MethodName {
  const found = PREFERRED.find((preferred) => methods.some((each) => each.name === preferred && each.applies));
  if (found !== undefined) return found;
  const reasons = methods.filter((each) => PREFERRED.includes(each.name as MethodName)).map((each) => `${each.name}: ${each.reason}`);
  throw new SightlineError('METHOD_NOT_APPLICABLE', `No method can explain ${name} (${reasons.join('; ')}).`);
}

/** With several models, a refusal must say which it is about. */
async function named<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SightlineError) || error.code !== 'METHOD_NOT_APPLICABLE') throw error;
    throw new SightlineError(error.code, `${name}: ${error.message}`, { cause: error });
  }
}
