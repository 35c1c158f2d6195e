import { binding } from '../engine/binding.js';
import type { CaptureOptions } from '../requests/capture.js';
import { SightlineError } from '../support/errors.js';
import type { ModelInspection } from '../model/inspections.js';
import { Model } from '../model/model.js';
import type { ConfigurationRequest, Tell } from './configuration-request.js';
import { measureLatency } from './latency.js';
import type { Subject } from './measurement.js';
import { residentMemory } from './memory.js';
import type { MethodRequest } from './method-request.js';
import { measureThroughput } from './throughput.js';

/** Images that may wait in the engine beyond those that are measured; the queue must not refuse any. */
const QUEUE_MARGIN = 1024;

/**
 * Measures one configuration in this process, which should do nothing else.
 *
 * @throws SightlineError as `Model.load` and `explain` do
 */
export async function measureConfiguration(request: ConfigurationRequest, tell: Tell): Promise<void> {
  const start = performance.now();
  let model = await loadModel(request, request.batches.length > 0 ? Math.max(...request.batches) : request.maxBatch);
  const loadMilliseconds = performance.now() - start;
  try {
    for (const sentence of model.notes) tell({ kind: 'note', sentence });
    const inspection = await inspectAt(model, request, tell);
    const { libtorch, cpuCapability, threads } = binding().versions();
    const subject = { model: request.model.label, device: model.device, dtype: request.dtype };
    const { height, width } = inspection;
    let loaded = residentMemory().resident;
    tell({
      kind: 'loaded',
      configuration: {
        ...subject,
        path: model.path,
        height,
        width,
        threads,
        weightBytes: model.weightBytes,
        loadMilliseconds,
        residentBytes: loaded,
      },
      libtorch,
      capability: cpuCapability,
    });

    const shared = {
      request,
      subject,
      inspection,
      tell,
      methods: applicable(request, subject, inspection, tell),
      captures: capturesOf(request, subject, inspection, tell),
    };
    for (const batch of request.batches) await measureThroughput({ ...shared, model, loaded, batch });
    if (request.concurrency.length > 0) {
      if (request.batches.length > 0) {
        // The batches that concurrent requests make are those of a server, not the largest of the sweep.
        await model.close();
        model = await loadModel(request, request.maxBatch);
        await model.inspect({ height, width });
        loaded = residentMemory().resident;
      }
      for (const concurrency of request.concurrency) await measureLatency({ ...shared, model, loaded, concurrency });
    }
  } finally {
    await model.close();
  }
}

function loadModel(
  { model, device, dtype, threads, batches, concurrency, maxDelay }: ConfigurationRequest,
  maxBatch: number | null,
): Promise<Model> {
  return Model.load(model.nameOrPath, {
    device,
    dtype,
    ...(threads !== null && { threads }),
    ...(maxBatch !== null && { maxBatch }),
    maxDelay,
    maxQueue: QUEUE_MARGIN + Math.max(...batches, ...concurrency),
  });
}

/** The asked-for size where the model takes it, else its own. */
async function inspectAt(
  model: Model,
  { size, model: { label } }: ConfigurationRequest,
  tell: Tell,
): Promise<ModelInspection> {
  if (size === null) return model.inspect();
  try {
    return await model.inspect({ height: size, width: size });
  } catch (error) {
    if (!(error instanceof SightlineError) || error.code !== 'INVALID_INPUT') throw error;
    const own = await model.inspect();
    tell({
      kind: 'note',
      sentence: `${label} does not take images of ${size} x ${size}; it is measured at its own ${own.width} x ${own.height}.`,
    });
    return own;
  }
}

/** The methods that apply; of others that were named it is said why they do not. */
function applicable(
  { methods, areMethodsNamed, isOneOfMany }: ConfigurationRequest,
  subject: Subject,
  inspection: ModelInspection,
  tell: Tell,
): readonly MethodRequest[] {
  return methods.filter(({ label, options }) => {
    const { applies, reason } = inspection.methods.find(({ name }) => name === options.method)!;
    if (applies || !areMethodsNamed) return applies;
    const error = new SightlineError(
      'METHOD_NOT_APPLICABLE',
      `${label} does not apply to ${subject.model}: ${reason}.`,
    );
    if (!isOneOfMany) throw error;
    tell({
      kind: 'skipped',
      row: { ...subject, job: label, batch: null, concurrency: null, code: error.code, reason: error.message },
    });
    return false;
  });
}

/**
 * What is to be captured, by the jobs' names. `attention`: of all sites; `50%`: the node half way through the model;
 * else a node by its name.
 */
function capturesOf(
  { captures }: ConfigurationRequest,
  subject: Subject,
  { nodes, attention }: ModelInspection,
  tell: Tell,
): readonly (readonly [string, CaptureOptions])[] {
  return captures.flatMap((node): (readonly [string, CaptureOptions])[] => {
    const job = `capture ${node}`;
    const share = /^(\d+(?:\.\d+)?)%$/.exec(node)?.[1];
    if (share !== undefined) {
      return [
        [
          job,
          { features: [nodes[Math.min(nodes.length - 1, Math.floor((nodes.length * Number(share)) / 100))]!.name] },
        ],
      ];
    }
    if (node !== 'attention') return [[job, { features: [node] }]];
    if (attention.length > 0) return [[job, { attention: 'all' }]];
    tell({
      kind: 'skipped',
      row: {
        ...subject,
        job,
        batch: null,
        concurrency: null,
        code: 'METHOD_NOT_APPLICABLE',
        reason: `${subject.model} has no attention to capture.`,
      },
    });
    return [];
  });
}
