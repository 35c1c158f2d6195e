import type { Inspection } from '../engine/inspection.js';
import type { MethodName } from '../methods/index.js';
import { bothWays, type Pixels } from '../methods/fields.js';
import { preferredMethod } from '../methods/preferred.js';
import type { Model } from '../model/model.js';
import { parseExplainOptions } from '../requests/explain-options.js';
import type { Explanation, ExplainOptions, ExplainRequest } from '../requests/explain.js';
import { SightlineError } from '../support/errors.js';
import { cut } from '../support/cut.js';
import { ServiceFailure } from './failure.js';
import type { Limits } from './settings.js';

/** Whose a request is, and by which signal it ends. */
export interface Asking {
  readonly signal: AbortSignal;
  readonly client: string;
}

/** What requests are held to. */
export interface Allowed {
  readonly limits: Limits;
  readonly methods: readonly MethodName[] | undefined;
}

/**
 * What a request asks of `explain`, checked against the library's own rules and the service's limits.
 *
 * @param given the method and its options as the client wrote them
 * @param images how many are explained
 * @throws SightlineError INVALID_OPTION, METHOD_NOT_APPLICABLE
 * @throws ServiceFailure LIMIT_EXCEEDED
 */
export async function askedOptions(
  model: Model,
  given: Readonly<Record<string, unknown>>,
  images: number,
  { limits, methods }: Allowed,
  { signal, client }: Asking,
): Promise<ExplainOptions> {
  if (Object.hasOwn(given, 'client')) {
    throw new SightlineError('INVALID_OPTION', 'The service itself knows whose a request is; leave out "client".');
  }
  const { output } = given;
  const inspection = await model.inspect({ signal, output: output as string | number | undefined });
  const { method: named, ...rest } = given;
  if (named !== undefined && typeof named !== 'string') {
    throw new SightlineError('INVALID_OPTION', 'The method is given by its name, such as "grad-cam".');
  }
  const method = named ?? preferredMethod(inspection, model.card.name);
  if (methods !== undefined && !methods.some((each) => each === method)) {
    throw new SightlineError(
      'INVALID_OPTION',
      `This service has no method ${cut(method)}; it has ${methods.join(', ')}.`,
    );
  }
  const request = parseExplainOptions({ ...rest, method });
  checkLimits(request, images, inspection, limits);
  const { maxPixels = limits.maxPixels } = request.common;
  return {
    ...rest,
    method,
    memory: request.common.memory ?? Math.min(limits.maxMemory, 2 ** 30),
    maxPixels: Math.min(maxPixels, limits.maxPixels),
    client,
    signal,
  } as unknown as ExplainOptions;
}

/** @throws ServiceFailure LIMIT_EXCEEDED */
function checkLimits(
  { settings, layers, common }: ExplainRequest,
  images: number,
  inspection: Inspection,
  limits: Limits,
): void {
  const own = settings as Readonly<Record<string, unknown>>;
  const targets = (common.targets ?? ['top1']) as readonly unknown[];
  const lists = targets.some(Array.isArray) ? (targets as readonly (readonly unknown[])[]) : [targets];
  const counts = lists.map((list) => list.map(targetsOf).reduce((sum, count) => sum + count, 0));
  for (const count of counts) hold(count, limits.maxTargets, 'targets of one image');
  const concepts = typeof own['components'] === 'number' ? own['components'] : 0;
  hold(concepts, limits.maxTargets, 'concepts');
  // Maps of another size are counted once they are there.
  if (common.size !== 'grid') {
    const maps = images * Math.max(concepts, ...counts);
    hold(maps * inspection.height * inspection.width, limits.maxValues, 'numbers of maps');
  }
  hold(layers?.length ?? 0, limits.maxLayers, 'layers');
  hold(common.memory ?? 0, limits.maxMemory, 'bytes of memory');
  for (const name of ['samples', 'steps', 'masks'] as const) {
    const count = own[name];
    if (typeof count === 'number') hold(count, limits.maxSamples, name);
  }
  hold(windowsOf(own, inspection), limits.maxSamples, 'windows');
}

/**
 * Before they are written: a hundred million numbers of JSON would stop the process.
 *
 * @throws ServiceFailure LIMIT_EXCEEDED
 */
export function holdMaps(explained: readonly Pick<Explanation, 'maps'>[], { maxValues }: Limits): void {
  const count = explained.flatMap(({ maps }) => maps).reduce((sum, { data }) => sum + data.length, 0);
  hold(count, maxValues, 'numbers of maps');
}

/** `top3` stands for three. */
function targetsOf(target: unknown): number {
  const ranked = typeof target === 'string' ? /^top-?(\d+)$/i.exec(target.trim()) : null;
  return ranked === null ? 1 : Number(ranked[1]);
}

/** How often occlusion runs the model: once for each place of its window. */
function windowsOf(own: Readonly<Record<string, unknown>>, { height, width }: Inspection): number {
  const { window, stride } = own;
  if (window === undefined || stride === undefined) return 0;
  const [down, across] = bothWays(stride as Pixels);
  return Math.ceil(height / down) * Math.ceil(width / across);
}

/** @throws ServiceFailure LIMIT_EXCEEDED */
export function hold(count: number, most: number, what: string): void {
  if (count <= most) return;
  const number = (value: number): string => value.toLocaleString('en-US');
  throw new ServiceFailure(
    'LIMIT_EXCEEDED',
    `The request asks for ${number(count)} ${what}, and this service allows ${number(most)}.`,
  );
}

/** @throws ServiceFailure LIMIT_EXCEEDED */
export function holdImages(count: number, { maxImages }: Limits): void {
  hold(count, maxImages, 'images');
}
