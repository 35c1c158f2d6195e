import { COLORMAPS, type Colormap } from '../pictures/colormaps.js';
import type { Explanation } from '../requests/explain.js';
import { SightlineError } from '../support/errors.js';
import { encodeNpy } from '../support/npy.js';
import { chosenFormat } from './accept.js';
import { encodingOf, explanationBody, type Encoding } from './answers.js';
import { askedOptions, holdMaps } from './asked.js';
import { json, type Answer } from './call.js';
import type { Handler } from './exchange.js';
import { ServiceFailure } from './failure.js';
import { readRequest } from './picture-request.js';

/** What `POST /explain` answers with, by `Accept`; the first where any will do. */
export const FORMATS = ['application/json', 'image/png', 'image/webp', 'application/x-npy'] as const;
type Format = (typeof FORMATS)[number];

/** `POST /explain`: one picture in; predictions and maps, an overlay or the bare map out. */
export const explain: Handler = async (exchange) => {
  const format = chosenFormat(exchange.call.header('accept'), FORMATS);
  const request = await readRequest(exchange);
  const { model: asked, weights, encoding, colormap, opacity, legend, ...options } = request.options;
  if (asked !== undefined && typeof asked !== 'string') {
    throw new ServiceFailure('INVALID_REQUEST', 'The model is given by its name.');
  }
  const { name, model: trained } = exchange.model(asked);
  const model = isShuffled(weights) ? await exchange.shuffled(trained) : trained;
  const painting = { colormap, opacity, legend };
  const prepared = await exchange.stage('preprocess', name, async () => {
    checkPainting(painting);
    return {
      encoding: encodingOf(encoding),
      options: await askedOptions(model, options, 1, exchange, exchange),
    };
  });
  const [explanation] = await exchange.stage('explain', name, () => model.explain([request.image], prepared.options));
  holdMaps([explanation!], exchange.limits);
  return exchange.stage('postprocess', name, () => answerAs(format, name, explanation!, prepared.encoding, painting));
};

/** Whether a copy is asked that has learned nothing, which shows what of a map comes from the picture alone. */
function isShuffled(weights: unknown): boolean {
  if (weights === undefined || weights === 'trained') return false;
  if (weights === 'shuffled') return true;
  throw new SightlineError('INVALID_OPTION', 'weights is "trained" or "shuffled".');
}

interface Painting {
  readonly colormap: unknown;
  readonly opacity: unknown;
  readonly legend: unknown;
}

/** Before anything is computed; the overlay itself is drawn from what was checked here. */
function checkPainting({ colormap, opacity, legend }: Painting): void {
  if (colormap !== undefined && !COLORMAPS.some((known) => known === colormap)) {
    throw new SightlineError('INVALID_OPTION', `There is no such colormap; there are ${COLORMAPS.join(', ')}.`);
  }
  if (opacity !== undefined && !(typeof opacity === 'number' && opacity >= 0 && opacity <= 1)) {
    throw new SightlineError('INVALID_OPTION', 'opacity is a number from 0 (image only) to 1 (color only).');
  }
  if (legend !== undefined && typeof legend !== 'boolean') {
    throw new SightlineError('INVALID_OPTION', 'legend is true or false.');
  }
}

async function answerAs(
  format: Format,
  model: string,
  explanation: Explanation,
  encoding: Encoding,
  { colormap, opacity, legend }: Painting,
): Promise<Answer> {
  const { maps } = explanation;
  if (format === 'application/json') return json({ model, ...explanationBody(explanation, encoding) });
  if (format === 'application/x-npy') {
    const [height, width] = maps[0]!.shape;
    const data = new Float32Array(maps.length * height * width);
    maps.forEach((map, i) => data.set(map.data, i * height * width));
    const body = encodeNpy({ data, shape: [maps.length, height, width] });
    return { status: 200, headers: { 'content-type': format }, body };
  }
  if (maps.length > 1) {
    throw new ServiceFailure('INVALID_REQUEST', 'A picture shows one map; ask for one target, or for JSON.');
  }
  const overlay = maps[0]!.overlay({
    colormap: colormap as Colormap | undefined,
    opacity: opacity as number | undefined,
    legend: legend as boolean | undefined,
  });
  const body = await overlay.toBuffer({ format: format === 'image/png' ? 'png' : 'webp' });
  return { status: 200, headers: { 'content-type': format }, body };
}
