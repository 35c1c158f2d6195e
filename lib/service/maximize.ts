import { z } from 'zod';

import type { GeneratedImage, MaximizeOptions } from '../requests/maximize/maximize.js';
import { maximizeFields, parseMaximizeOptions } from '../requests/maximize/options.js';
import { parseOptions } from '../support/options.js';
import { chosenFormat } from './accept.js';
import { hold } from './asked.js';
import { parseJson } from './body.js';
import type { Handler } from './exchange.js';
import { ServiceFailure } from './failure.js';
import { LINES, liveAnswer } from './live.js';

/** What `POST /maximize` answers with, by `Accept`: lines of JSON while it goes on, or the image at the end. */
export const MAXIMIZE_FORMATS = [LINES, 'image/png', 'image/webp'] as const;

/** Steps between two pictures, where the request does not say. */
const EVERY = 8;

/** What `POST /maximize` takes: the options of `model.maximize`, and the model's name. */
export const maximizeSchema = maximizeFields.extend({ model: z.string().optional() });

/** A picture within JSON. */
export interface PictureAnswer {
  readonly type: 'image/png' | 'image/webp';
  readonly b64: string;
}

/** A line of `POST /maximize` while it goes on. */
export interface MaximizeLine {
  readonly step: number;
  readonly steps: number;
  readonly activation: number;
  readonly image?: PictureAnswer;
}

/** Its last line. */
export interface MaximizedLine {
  readonly model: string;
  readonly objective: string;
  readonly activation: number;
  readonly activations: readonly { readonly step: number; readonly activation: number }[];
  readonly options: object;
  readonly shape: readonly number[];
  readonly image: PictureAnswer;
}

/** `POST /maximize`: the image that excites a part of a model most, step by step. */
export const maximize: Handler = async (exchange) => {
  const { call, limits, client } = exchange;
  const format = chosenFormat(call.header('accept'), MAXIMIZE_FORMATS);
  const type = (call.header('content-type') ?? '').split(';')[0]!.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new ServiceFailure('UNSUPPORTED_MEDIA_TYPE', 'Send JSON, such as {"class": "tabby"}.');
  }
  const { model: asked, ...options } = parseOptions(maximizeSchema, parseJson(await exchange.read()), 'maximize');
  const { steps } = parseMaximizeOptions(options as MaximizeOptions);
  hold(steps, limits.maxSamples, 'steps');
  const { name, model } = exchange.model(asked);
  const made = (more: object, signal: AbortSignal) =>
    exchange.stage('explain', name, () =>
      model.maximize({ ...options, ...more, client, signal } as unknown as MaximizeOptions),
    );
  if (format !== LINES) {
    const { image } = await made({}, exchange.signal);
    const kind = format === 'image/png' ? 'png' : 'webp';
    return { status: 200, headers: { 'content-type': format }, body: await image.picture().toBuffer({ format: kind }) };
  }
  return liveAnswer(exchange.signal, async (tell, signal) => {
    const onProgress = async ({ image, ...line }: Omit<MaximizeLine, 'image'> & { readonly image?: GeneratedImage }) =>
      tell({ ...line, ...(image !== undefined && { image: await pictureOf(image, 'webp') }) } satisfies MaximizeLine);
    const {
      image,
      objective,
      activation,
      activations,
      options: taken,
    } = await made({ every: EVERY, ...options, onProgress }, signal);
    return {
      model: name,
      objective,
      activation,
      activations,
      options: taken,
      shape: image.shape,
      // As it is: whoever keeps it can have it explained.
      image: await pictureOf(image, 'png'),
    } satisfies MaximizedLine;
  });
};

async function pictureOf(image: GeneratedImage, format: 'png' | 'webp'): Promise<PictureAnswer> {
  const bytes = await image.picture().toBuffer({ format });
  return { type: `image/${format}`, b64: bytes.toString('base64') };
}
