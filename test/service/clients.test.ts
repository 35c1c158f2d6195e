import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model, Prediction } from '../../lib/index.js';
import { runPython } from '../support/python.js';
import { findClients, FOLDER } from './clients/python.js';
import { asJson, load, photo, serve, type Served } from './support.js';

const python = findClients();

interface Answers {
  readonly kserve: Record<'ready' | 'server' | 'ids' | 'errors', unknown> & {
    readonly predict: { readonly predictions: readonly (readonly Prediction[])[] };
    readonly explain: { readonly explanations: readonly { readonly maps: readonly { readonly data: number[] }[] }[] };
    readonly infer: readonly Record<'logits' | 'classes' | 'scores', number[][]>[];
  };
  readonly triton: Record<'live' | 'ready' | 'model' | 'server' | 'metadata' | 'index' | 'error', unknown> & {
    readonly json: { readonly logits: number[][]; readonly labels: string[][] };
    readonly binary: { readonly logits: number[][]; readonly labels: string[][] };
    readonly image: number[][];
  };
}

describe.skipIf(python === null)('clients of the protocols, unchanged', () => {
  const cat = photo('cat.jpg');
  let model: Model;
  let served: Served;
  let answers: Answers;
  /** The tensor that the script sends. */
  const count = 3 * 224 * 224;
  const pixels = { data: Float32Array.from({ length: count }, (_, i) => (i % 97) / 97), shape: [1, 3, 224, 224] };

  beforeAll(async () => {
    model = await load('resnet-tiny-shapes');
    served = await serve({ models: { shapes: model }, repository: true, deadline: 600_000 });
    answers = JSON.parse(
      await runPython(python!, [`${FOLDER}/ask.py`, served.address, 'shapes', 'models/demo/photos/cat.jpg']),
    ) as Answers;
  });
  afterAll(async () => {
    await served.stop();
    await model.close();
  });

  const row = (values: readonly number[]): number[] => Array.from(Float32Array.from(values));

  it("KServe's gives the library's predictions and map, by both protocols", async () => {
    const { kserve } = answers;
    const [predicted] = await model.predict(cat);
    expect(kserve.predict).toEqual({ predictions: [asJson(predicted!.predictions)] });
    const [explained] = await model.explain(cat, { method: 'grad-cam', size: 'grid' });
    expect(row(kserve.explain.explanations[0]!.maps[0]!.data)).toEqual(Array.from(explained!.maps[0]!.data));
    const [ofTensor] = await model.predict(pixels);
    // As JSON and as bytes.
    expect(kserve.infer).toHaveLength(2);
    for (const { logits, classes, scores } of kserve.infer) {
      expect(row(logits[0]!)).toEqual(Array.from(ofTensor!.logits.data));
      expect(classes[0]).toEqual(ofTensor!.predictions.map(({ index }) => index));
      expect(row(scores[0]!)).toEqual(row(ofTensor!.predictions.map(({ score }) => score)));
    }
    expect(kserve).toMatchObject({ ready: [true, true], server: [true, true], ids: ['7', '7'] });
    expect(kserve.errors).toEqual([
      ['v1', expect.stringMatching(/^Expected "instances" to be a list\..*400 Bad Request/)],
      ['v2', expect.stringMatching(/^Expected "inputs" to be a list of tensors\..*400 Bad Request/)],
    ]);
  });

  it("Triton's gives the library's scores as JSON, as bytes and of an image file, and loads and unloads", async () => {
    const { triton } = answers;
    const [ofTensor] = await model.predict(pixels);
    const [ofImage] = await model.predict(cat);
    for (const { logits, labels } of [triton.json, triton.binary]) {
      expect(row(logits[0]!)).toEqual(Array.from(ofTensor!.logits.data));
      expect(labels[0]).toEqual(ofTensor!.predictions.map(({ label }) => label));
    }
    expect(row(triton.image[0]!)).toEqual(Array.from(ofImage!.logits.data));
    expect(triton).toMatchObject({
      live: true,
      ready: true,
      model: [false, true],
      server: { name: 'sightline', extensions: ['binary_tensor_data', 'model_repository'] },
      metadata: { name: 'shapes', inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 3, 224, 224] }] },
      index: [{ name: 'shapes', version: '1', state: 'READY', reason: '' }],
      error: ['404', 'There is no model of that name; there are shapes.'],
    });
  });
});
