import type { Input } from '../images/inputs.js';
import type { Model } from '../model/model.js';
import type { Explanation } from '../requests/explain.js';
import type { Predicted } from '../requests/predict.js';
import { SightlineError } from '../support/errors.js';
import { cut } from '../support/cut.js';
import { askedOptions, holdImages, holdMaps } from './asked.js';
import { json, type Answer } from './call.js';
import type { Exchange, Handler } from './exchange.js';
import { ServiceFailure } from './failure.js';
import { checkShape, pictureOf, tensorSizeOf, type TensorSize } from './images.js';
import { isObject, JSON_LENGTH, readTensors, writeTensors, type AnswerTensor, type RequestTensor } from './tensors.js';

/** The one version that every model has here. */
export const VERSION = '1';

/** @throws ServiceFailure NOT_FOUND */
export function checkVersion({ path }: Exchange): void {
  if (path['version'] === undefined || path['version'] === VERSION) return;
  throw new ServiceFailure('NOT_FOUND', `There is no such version of the model; there is ${VERSION}.`);
}

export const metadata: Handler = async (exchange) => {
  checkVersion(exchange);
  const { name, model } = exchange.model(exchange.path['model']);
  const { classes, outputShape } = await model.inspect({ signal: exchange.signal });
  const { shape } = await tensorSizeOf(model, exchange.signal);
  const outputs = [
    { name: 'logits', datatype: 'FP32', shape: [-1, ...outputShape.slice(1)] },
    { name: 'classes', datatype: 'INT64', shape: [-1, -1] },
    { name: 'scores', datatype: 'FP32', shape: [-1, -1] },
    { name: 'labels', datatype: 'BYTES', shape: [-1, -1] },
  ];
  return json({
    name,
    versions: [VERSION],
    platform: 'pytorch_torchscript',
    inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, ...shape] }],
    // A model that scores no classes is explained and not predicted with.
    outputs: classes > 0 ? outputs : [],
  });
};

export const infer: Handler = async (exchange) => {
  const request = await read(exchange);
  const { name, model, inputs, options } = request;
  const { top, ...others } = options;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) {
    throw new SightlineError('INVALID_OPTION', `infer has no parameter "${cut(unknown)}"; it takes top.`);
  }
  const predicted = await exchange.stage('predict', name, () =>
    model.predict(inputs, {
      top: top as number | undefined,
      maxPixels: exchange.limits.maxPixels,
      client: exchange.client,
      signal: exchange.signal,
    }),
  );
  return exchange.stage('postprocess', name, () => write(request, inferOutputs(predicted)));
};

export const explain: Handler = async (exchange) => {
  const request = await read(exchange);
  const { name, model, inputs } = request;
  const options = await askedOptions(model, listsOf(request.options), request.images, exchange, exchange);
  const explained = await exchange.stage('explain', name, () => model.explain(inputs, options));
  holdMaps(explained, exchange.limits);
  return exchange.stage('postprocess', name, () => write(request, explainOutputs(explained)));
};

interface Asked {
  readonly name: string;
  readonly model: Model;
  /** How many the inputs hold. */
  readonly images: number;
  readonly inputs: readonly Input[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly answer: {
    readonly id: string | undefined;
    readonly isBinary: boolean;
    /** Null for all. */
    readonly outputs: readonly WantedOutput[] | null;
  };
}

/** Parameters that say how the answer is written. */
const OF_ANSWER = 'binary_data_output';

async function read(exchange: Exchange): Promise<Asked> {
  checkVersion(exchange);
  const { name, model } = exchange.model(exchange.path['model']);
  return exchange.stage('preprocess', name, async () => {
    const { header, tensors } = readTensors(await exchange.read(), exchange.call.header(JSON_LENGTH));
    const { parameters = {}, id, outputs } = header;
    if (!isObject(parameters)) throw new ServiceFailure('INVALID_REQUEST', 'Expected "parameters" to be an object.');
    if (id !== undefined && typeof id !== 'string') {
      throw new ServiceFailure('INVALID_REQUEST', 'Expected "id" to be a text.');
    }
    const { [OF_ANSWER]: isBinary = false, ...options } = parameters;
    if (typeof isBinary !== 'boolean') {
      throw new ServiceFailure('INVALID_REQUEST', `Expected "${OF_ANSWER}" to be true or false.`);
    }
    const [tensor, second] = tensors;
    if (second !== undefined) throw new ServiceFailure('INVALID_REQUEST', 'The model takes one tensor, "input".');
    const images = tensor!.shape[0]!;
    holdImages(images, exchange.limits);
    const inputs = inputsOf(tensor!, await tensorSizeOf(model, exchange.signal));
    return { name, model, images, inputs, options, answer: { id, isBinary, outputs: wantedOutputs(outputs) } };
  });
}

/**
 * `input` is what the model takes; `image` holds pictures, as files (BYTES) or as pixels (UINT8, [N, H, W, channels]).
 */
function inputsOf({ name, shape, values }: RequestTensor, size: TensorSize): readonly Input[] {
  if (name === 'input' && values.datatype === 'FP32') {
    checkShape(shape, 'input', size);
    return [{ data: values.data, shape }];
  }
  if (name === 'image' && values.datatype === 'BYTES') {
    return values.data.map((bytes, i) => pictureOf(bytes, `image ${i}`));
  }
  if (name === 'image' && values.datatype === 'UINT8' && shape.length === 4) {
    const [count, height, width, channels] = shape as readonly [number, number, number, number];
    const length = height * width * channels;
    // The library says which channels there can be.
    return Array.from({ length: count }, (_, i) => ({
      data: values.data.subarray(i * length, (i + 1) * length),
      height,
      width,
      channels: channels as 3,
    }));
  }
  throw new ServiceFailure(
    'INVALID_REQUEST',
    'Expected "input" of FP32, or "image" of BYTES (files) or of UINT8 ([N, H, W, channels]).',
  );
}

/** Parameters are texts, numbers and truth values; lists and pairs are written as JSON in a text. */
function listsOf(parameters: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { target, targets = target, layer, ...options } = parameters;
  const read = (value: unknown): unknown => {
    if (typeof value !== 'string' || !/^\s*[[{]/.test(value)) return value;
    try {
      return JSON.parse(value) as unknown;
    } catch {
      throw new ServiceFailure('INVALID_REQUEST', `The parameter ${cut(value)} is no JSON.`);
    }
  };
  const chosen = read(targets);
  return {
    ...Object.fromEntries(Object.entries(options).map(([name, value]) => [name, read(value)])),
    ...(chosen !== undefined && { targets: Array.isArray(chosen) ? chosen : [chosen] }),
    ...(layer !== undefined && { layer: read(layer) }),
  };
}

function best(of: readonly Pick<Predicted, 'predictions'>[]): AnswerTensor[] {
  const shape = [of.length, of[0]!.predictions.length];
  const all = of.flatMap(({ predictions }) => predictions);
  return [
    { name: 'classes', shape, values: { datatype: 'INT64', data: all.map(({ index }) => index) } },
    { name: 'scores', shape, values: { datatype: 'FP32', data: Float32Array.from(all, ({ score }) => score) } },
    { name: 'labels', shape, values: { datatype: 'BYTES', data: all.map(({ label }) => label) } },
  ];
}

function inferOutputs(predicted: readonly Predicted[]): AnswerTensor[] {
  const { shape } = predicted[0]!.logits;
  return [
    {
      name: 'logits',
      shape: [predicted.length, ...shape],
      values: { datatype: 'FP32', data: joined(predicted.map(({ logits }) => logits.data)) },
    },
    ...best(predicted),
  ];
}

/** TorchServe calls the maps `explain`. */
function explainOutputs(explained: readonly Explanation[]): AnswerTensor[] {
  const maps = explained.flatMap((each) => each.maps);
  const { shape } = maps[0]!;
  const counts = explained.map((each) => each.maps.length);
  if (maps.some((map) => map.shape.join() !== shape.join()) || counts.some((count) => count !== counts[0])) {
    throw new ServiceFailure('INVALID_REQUEST', 'The maps of these images differ in shape; ask for one at a time.');
  }
  return [
    {
      name: 'explain',
      shape: [explained.length, counts[0]!, ...shape],
      values: { datatype: 'FP32', data: joined(maps.map(({ data }) => data)) },
    },
    {
      name: 'targets',
      shape: [explained.length, counts[0]!],
      values: { datatype: 'INT64', data: maps.map(({ target }) => target.index) },
    },
    ...best(explained),
  ];
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

interface WantedOutput {
  readonly name: unknown;
  /** Undefined where the request says it for all. */
  readonly isBinary: boolean | undefined;
}

/** What is asked of the answer is checked before anything is computed, but for the names of its tensors. */
function wantedOutputs(outputs: unknown): WantedOutput[] | null {
  if (outputs === undefined) return null;
  if (!Array.isArray(outputs)) throw new ServiceFailure('INVALID_REQUEST', 'Expected "outputs" to be a list.');
  return (outputs as readonly unknown[]).map((output, i) => {
    const { name, parameters = {} } = isObject(output) ? output : {};
    const isBinary = isObject(parameters) ? parameters['binary_data'] : null;
    if (isBinary === undefined || typeof isBinary === 'boolean') return { name, isBinary };
    throw new ServiceFailure('INVALID_REQUEST', `Expected "binary_data" of outputs[${i}] to be true or false.`);
  });
}

/** The tensors that the request asks for, in its order, or all. */
function write({ name, answer: { id, isBinary, outputs } }: Asked, tensors: readonly AnswerTensor[]): Answer {
  const said = { model_name: name, model_version: VERSION, ...(id !== undefined && { id }) };
  if (outputs === null) return writeTensors(said, tensors, () => isBinary);
  const chosen = outputs.map((output) => {
    const found = tensors.find((tensor) => tensor.name === output.name);
    if (found !== undefined) return found;
    throw new ServiceFailure(
      'INVALID_REQUEST',
      `There is no such output; there are ${tensors.map((tensor) => tensor.name).join(', ')}.`,
    );
  });
  const binary = (of: string): boolean => outputs.find((output) => output.name === of)?.isBinary ?? isBinary;
  return writeTensors(said, chosen, binary);
}
