import type { Input } from '../images/inputs.js';
import type { Model } from '../model/model.js';
import { cut } from '../support/cut.js';
import { SightlineError } from '../support/errors.js';
import { encodingOf, explanationBody } from './answers.js';
import { askedOptions, holdImages, holdMaps } from './asked.js';
import { parseJson } from './body.js';
import { json } from './call.js';
import type { Exchange, Handler } from './exchange.js';
import { ServiceFailure } from './failure.js';
import { instanceOf, tensorSizeOf } from './images.js';

/** KServe's protocol V1. */
export const predict: Handler = async (exchange) => {
  const { name, model } = exchange.model(exchange.path['model']);
  const { inputs, options } = await exchange.stage('preprocess', name, () => readInstances(exchange, model));
  const { top, ...others } = options;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) {
    throw new SightlineError('INVALID_OPTION', `predict has no option "${cut(unknown)}"; it takes top.`);
  }
  const predicted = await exchange.stage('predict', name, () =>
    model.predict(inputs, {
      top: top as number | undefined,
      maxPixels: exchange.limits.maxPixels,
      client: exchange.client,
      signal: exchange.signal,
    }),
  );
  return exchange.stage('postprocess', name, () =>
    json({ predictions: predicted.map(({ predictions }) => predictions) }),
  );
};

export const explain: Handler = async (exchange) => {
  const { name, model } = exchange.model(exchange.path['model']);
  const { inputs, options, encoding } = await exchange.stage('preprocess', name, async () => {
    const read = await readInstances(exchange, model);
    const { encoding, ...rest } = read.options;
    return {
      inputs: read.inputs,
      encoding: encodingOf(encoding),
      options: await askedOptions(model, rest, read.inputs.length, exchange, exchange),
    };
  });
  const explained = await exchange.stage('explain', name, () => model.explain(inputs, options));
  holdMaps(explained, exchange.limits);
  return exchange.stage('postprocess', name, () =>
    json({
      predictions: explained.map(({ predictions }) => predictions),
      explanations: explained.map((each) => explanationBody(each, encoding)),
    }),
  );
};

interface Instances {
  readonly inputs: readonly Input[];
  /** What else the body says, at its top or below `parameters`. */
  readonly options: Readonly<Record<string, unknown>>;
}

async function readInstances(exchange: Exchange, model: Model): Promise<Instances> {
  // TensorFlow's clients name a signature; there is one.
  const { instances, parameters, signature_name: _, ...rest } = parseJson(await exchange.read());
  if (!Array.isArray(instances)) throw new ServiceFailure('INVALID_REQUEST', 'Expected "instances" to be a list.');
  if (instances.length === 0) throw new ServiceFailure('INVALID_REQUEST', 'The list "instances" is empty.');
  if (
    parameters !== undefined &&
    (typeof parameters !== 'object' || parameters === null || Array.isArray(parameters))
  ) {
    throw new ServiceFailure('INVALID_REQUEST', 'Expected "parameters" to be an object.');
  }
  const twice = Object.keys(rest).find((name) => Object.hasOwn(parameters ?? {}, name));
  if (twice !== undefined) {
    throw new ServiceFailure('INVALID_REQUEST', `${cut(twice)} stands in "parameters" and beside it; give it once.`);
  }
  holdImages(instances.length, exchange.limits);
  const size = await tensorSizeOf(model, exchange.signal);
  return {
    inputs: instances.map((instance, i) => instanceOf(instance, `instances[${i}]`, size)),
    options: { ...parameters, ...rest },
  };
}
