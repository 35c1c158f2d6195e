import { Command, Option } from 'commander';

import { SightlineError } from '../support/errors.js';
import { parseExplainOptions } from '../requests/explain-options.js';
import type { ExplainTarget, Explanation, NamedOptions } from '../requests/explain.js';
import type { HeatMap } from '../requests/heatmap.js';
import { COLORMAPS, type Colormap } from '../pictures/colormaps.js';
import type { MethodName } from '../methods/index.js';
import { preferredMethod } from '../methods/preferred.js';
import { Model } from '../model/model.js';
import { DEFAULT_MODEL } from '../models/bundled.js';
import { eachOrFailed, isAboutImage, type ImageFailure } from './bad-images.js';
import { failureOf } from './failure.js';
import { readChunks, type NamedInput } from './input-files.js';
import {
  checkOwnOptions,
  decimal,
  keyValue,
  loadOptions,
  METHOD_HELP,
  repeated,
  withModelFlags,
  type ModelFlags,
} from './options.js';
import { OutputFolder, safeName } from './output-files.js';
import { readPreset, type Preset } from './preset-file.js';
import type { Session } from './session.js';
import { ViewPage } from './view-page.js';
import { describeMap, listPredictions, percent, subjectOf } from './words.js';

interface ExplainFlags extends ModelFlags {
  readonly model: string;
  readonly method?: string;
  readonly target?: readonly string[];
  readonly layer?: readonly string[];
  readonly size: 'grid' | 'image';
  readonly preset?: string;
  readonly option?: Readonly<Record<string, unknown>>;
  readonly out?: string;
  readonly html?: string;
  readonly raw?: true;
  readonly colormap?: Colormap;
  readonly opacity?: number;
  readonly legend?: true;
  readonly title?: string;
}

/**
 * Where people find the overlays if they do not say where they want them. Programs, by --json, get files only where
 * they ask.
 */
const OUT = 'sightline-out';

/** One image's entry in the JSON answer. */
interface Result {
  readonly image: string;
  readonly model: string;
  readonly method: string;
  readonly options: unknown;
  readonly predictions: Explanation['predictions'];
  readonly maps: readonly MapResult[];
  readonly chunk: number | null;
}

interface MapResult {
  readonly target: {
    readonly index: number;
    readonly label: string;
    readonly against?: { readonly index: number; readonly label: string };
    readonly places?: number;
    readonly box?: number;
  };
  readonly layer: string | null;
  readonly shape: readonly [height: number, width: number];
  readonly min: number;
  readonly max: number;
  readonly state: HeatMap['state'];
  readonly figures: HeatMap['figures'];
  readonly overlay?: string;
  readonly raw?: string;
}

export function explainCommand(session: Session): Command {
  return withModelFlags(new Command('explain'))
    .description('Classify images and show which pixels led to the prediction.')
    .argument('<image...>', 'pictures; a .npy file (float32 [N, 3, H, W]) counts as N preprocessed images')
    .option(
      '--model <model>',
      'a bundled or pulled model, or the path of an archive or an exported program',
      DEFAULT_MODEL,
    )
    .option('--method <method>', METHOD_HELP)
    .option('--preset <file>', 'the method with its options, as search --save wrote it')
    .option(
      '--target <target>',
      'class index, label, topK for the K best classes, or "A vs B" for what prefers A to B; of masks mask:CLASS or mask:CLASS@X,Y, of a detector box:N or box:N:CLASS; may be repeated (default: top1)',
      repeated,
    )
    .option(
      '--layer <name>',
      'layer to explain, where the method explains layers; maps of several are fused (--option fusion=mean|max|product)',
      repeated,
    )
    .addOption(
      new Option('--size <size>', 'maps as large as the model sees the image, or as the method computes them')
        .choices(['grid', 'image'])
        .default('image'),
    )
    .option(
      '--option <key=value>',
      "the method's own option, such as discardRatio=0.9, or score=probability, memory=BYTES, augmentationSmoothing=true; may be repeated",
      keyValue,
    )
    .option('--out <dir>', `write overlays to this folder (default: ${OUT}; none with --json)`)
    .option('--html <file>', 'write all maps to one HTML file, which a browser shows without any server')
    .option('--raw', 'also write the maps, unscaled, as .npy (float32)')
    .addOption(new Option('--colormap <name>', 'colors of the overlays (default: turbo)').choices(COLORMAPS))
    .option('--opacity <share>', 'of the color over the image, 0 to 1 (default: 0.5)', decimal)
    .option('--legend', 'draw a color bar beside each overlay')
    .option('--title <text>', 'text above each overlay; {image} {target} {score} {method} are filled in')
    .addHelpText(
      'after',
      `
Examples:
  $ sightline explain dog.jpg
  $ sightline explain dog.jpg --model resnet50.pt --method grad-cam --target top2 --out out
  $ sightline explain *.jpg --model vit.pt --method attention-rollout --option headFusion=max --option discardRatio=0.9 --out out
  $ sightline explain dog.jpg --target top3 --html dog.html
  $ sightline explain batch.npy --model vit.pt --method gae --target 243 --size grid --raw --out out --json`,
    )
    .action((images: string[], flags: ExplainFlags) => explain(session, images, flags));
}

async function explain(session: Session, images: readonly string[], flags: ExplainFlags): Promise<void> {
  const out = flags.out ?? (session.json || flags.html !== undefined ? undefined : OUT);
  checkFlags(flags, out);
  // What was asked for is checked before anything is loaded, as far as it was asked for.
  const preset = flags.preset === undefined ? null : await readPreset(flags.preset);
  const method = preset?.method ?? flags.method;
  const asked = method === undefined ? null : requestOf(session, flags, method, preset);
  let folder = flags.out === undefined ? null : await OutputFolder.create(flags.out, '--out');
  const { html, opacity, colormap } = flags;
  const page = html === undefined ? null : await ViewPage.create(html, { opacity, colormap });
  await using model = await Model.load(flags.model, loadOptions(flags, session.signal));
  model.notes.forEach(session.note);
  const options = asked ?? requestOf(session, flags, preferredMethod(await model.inspect(), flags.model));

  const results: Result[] = [];
  const failures: ImageFailure[] = [];
  const failed = (image: string, error: unknown): undefined => {
    // Of one image there is no rest to be done.
    if (images.length === 1 || !isAboutImage(error)) throw error;
    failures.push({ image, error: { code: error.code, message: failureOf(error).message } });
  };
  for await (const chunk of readChunks(images, undefined, failed)) {
    for (const [named, explanation] of await eachOrFailed(chunk, (some) => explainAll(model, some, options), failed)) {
      // A folder that nobody named is made when there is something to put into it.
      if (out !== undefined) folder ??= await OutputFolder.create(out, 'the default --out');
      const result = await resultOf(named, explanation, flags, folder);
      printResult(session, result, explanation);
      await page?.add(named, explanation, model, flags.raw === true);
      results.push(result);
    }
    session.progress(`${results.length} images explained`);
  }
  if (page !== null) {
    await page.write();
    session.print(page.path);
  }
  session.answer({ results, ...(page !== null && { html: page.path }), ...(failures.length > 0 && { failures }) });
  if (failures.length === 0) return;
  session.fail(
    `${failures.length} of ${results.length + failures.length} images could not be explained: ${failures.map(({ error }) => error.message).join(' ')}`,
  );
  process.exitCode = 2;
}

async function explainAll(
  model: Model,
  some: readonly NamedInput[],
  options: NamedOptions<MethodName>,
): Promise<[NamedInput, Explanation][]> {
  const explained = await model.explain(
    some.map(({ input }) => input),
    options,
  );
  return explained.map((explanation, i) => [some[i]!, explanation]);
}

/** `A vs B` is how much more A is favored than B; `mask:CLASS`, `mask:CLASS@X,Y`, `box:N`, `box:N:CLASS`. */
function targetOf(text: string): ExplainTarget {
  const box = /^box:(\d+)(?::(.+))?$/.exec(text);
  if (box) return { box: Number(box[1]), ...(box[2] !== undefined && { class: box[2] }) };
  const mask = /^mask:(.+?)(?:@(\d+),(\d+))?$/.exec(text);
  if (mask) return { mask: mask[1]!, ...(mask[2] !== undefined && { point: [Number(mask[2]), Number(mask[3])] }) };
  const pair = /^(.+) vs (.+)$/.exec(text);
  return pair ? { of: pair[1]!, against: pair[2]! } : text;
}

function checkFlags(flags: ExplainFlags, out: string | undefined): void {
  if (flags.preset !== undefined && flags.method !== undefined) {
    throw new SightlineError('INVALID_OPTION', 'The --preset file names the method; leave --method out.');
  }
  checkOwnOptions(flags.option ?? {});
  if (out === undefined) {
    // An HTML file takes colors along, and has a legend and a title anyway.
    const ofFiles = flags.html === undefined ? (['raw', 'colormap', 'opacity', 'legend', 'title'] as const) : [];
    const needing = ofFiles.find((name) => flags[name] !== undefined);
    if (needing !== undefined) {
      throw new SightlineError(
        'INVALID_OPTION',
        `--${needing} is about files, but none are written; say where with --out DIR.`,
      );
    }
  }
  const { opacity } = flags;
  if (opacity !== undefined && !(opacity >= 0 && opacity <= 1)) {
    throw new SightlineError(
      'INVALID_OPTION',
      `--opacity is ${opacity}; give a number from 0 (image only) to 1 (color only).`,
    );
  }
}

/** @throws SightlineError INVALID_OPTION for what can be found wrong without the model. */
function requestOf(
  session: Session,
  flags: ExplainFlags,
  method: string,
  preset: Preset | null = null,
): NamedOptions<MethodName> {
  const options = {
    ...preset,
    ...flags.option,
    method,
    targets: flags.target?.map(targetOf),
    ...(flags.layer && { layer: flags.layer }),
    size: flags.size,
    raw: flags.raw,
    signal: session.signal,
  };
  parseExplainOptions(options);
  return options as unknown as NamedOptions<MethodName>;
}

async function resultOf(
  { image, base }: NamedInput,
  explanation: Explanation,
  flags: ExplainFlags,
  folder: OutputFolder | null,
): Promise<Result> {
  const { method, options, predictions } = explanation;
  const maps: MapResult[] = [];
  for (const map of explanation.maps) {
    const { index, label, against, places, box } = map.target;
    const subject = against ? `${label} vs ${against.label}` : box === undefined ? label : `${label} box ${box}`;
    const name = [safeName(base) || 'image', method, safeName(subject) || String(index)].join('-');
    maps.push({
      target: {
        index,
        label,
        ...(against && { against: { index: against.index, label: against.label } }),
        ...(places !== undefined && { places }),
        ...(box !== undefined && { box }),
      },
      layer: map.layer,
      shape: map.shape,
      min: map.min,
      max: map.max,
      state: map.state,
      figures: map.figures,
      ...(folder && { overlay: await folder.picture(name, overlayOf(map, image, method, flags)) }),
      ...(folder && flags.raw && { raw: await folder.array(name, map) }),
    });
  }
  return { image, model: flags.model, method, options, predictions, maps, chunk: explanation.chunk };
}

function overlayOf(map: HeatMap, image: string, method: string, flags: ExplainFlags): ReturnType<HeatMap['overlay']> {
  const filled: Record<string, string> = { image, target: map.target.label, score: percent(map.target.score), method };
  return map.overlay({
    colormap: flags.colormap,
    opacity: flags.opacity,
    legend: flags.legend,
    title: flags.title?.replace(/\{(\w+)\}/g, (whole, name: string) =>
      Object.hasOwn(filled, name) ? filled[name]! : whole,
    ),
    stretch: true,
  });
}

function printResult(session: Session, result: Result, { maps }: Explanation): void {
  session.print(result.image);
  if (result.predictions.length > 0) session.print(`  predicted: ${listPredictions(result.predictions)}`);
  result.maps.forEach(({ overlay, raw }, i) => {
    session.print(`  ${subjectOf(result.method, maps[i]!)}: ${describeMap(maps[i]!)}`);
    for (const file of [overlay, raw]) if (file !== undefined) session.print(`    ${file}`);
  });
}
