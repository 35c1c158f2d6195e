import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Model } from '../../lib/index.js';
import { load, photo, post, postJson, serve, type Served } from './support.js';

let model: Model;
let served: Served;
let side: number;
let tensor: Float32Array;
const cat = photo('cat.jpg');

beforeAll(async () => {
  model = await load('vit-tiny-shapes');
  served = await serve({ models: { vit: model } });
  side = model.card.input.height;
  tensor = Float32Array.from({ length: 2 * 3 * side * side }, (_, i) => Math.fround(Math.cos(i / 70)));
});
afterAll(async () => {
  await served.stop();
  await model.close();
});
const at = (path: string): string => `${served.address}${path}`;

interface Output {
  readonly name: string;
  readonly shape: number[];
  readonly datatype: string;
  readonly data: (number | string)[];
}
const outputsOf = async (response: Response): Promise<Record<string, Output>> => {
  const { outputs } = (await response.json()) as { outputs: Output[] };
  return Object.fromEntries(outputs.map((output) => [output.name, output]));
};
const input = (): object => ({ name: 'input', shape: [2, 3, side, side], datatype: 'FP32', data: Array.from(tensor) });
const given = (): { data: Float32Array; shape: number[] } => ({ data: tensor, shape: [2, 3, side, side] });

describe('the Open Inference Protocol', () => {
  it('tells of the server and of the model', async () => {
    const get = async (path: string): Promise<unknown> => (await fetch(at(path))).json();
    expect(await get('/v2')).toEqual({
      name: 'sightline',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/) as string,
      extensions: ['binary_tensor_data'],
    });
    expect(await get('/v2/health/live')).toEqual({ live: true });
    expect(await get('/v2/health/ready')).toEqual({ ready: true });
    expect(await get('/v2/models/vit/ready')).toEqual({ name: 'vit', ready: true });
    const classes = model.labels.length;
    const metadata = {
      name: 'vit',
      versions: ['1'],
      platform: 'pytorch_torchscript',
      inputs: [{ name: 'input', datatype: 'FP32', shape: [-1, 3, side, side] }],
      outputs: [
        { name: 'logits', datatype: 'FP32', shape: [-1, classes] },
        { name: 'classes', datatype: 'INT64', shape: [-1, -1] },
        { name: 'scores', datatype: 'FP32', shape: [-1, -1] },
        { name: 'labels', datatype: 'BYTES', shape: [-1, -1] },
      ],
    };
    expect(await get('/v2/models/vit')).toEqual(metadata);
    expect(await get('/v2/models/vit/versions/1')).toEqual(metadata);
    expect((await fetch(at('/v2/models/vit/versions/2'))).status).toBe(404);
  });

  it('infers what the library predicts, echoes the id, and gives every output', async () => {
    const response = await postJson(at('/v2/models/vit/infer'), {
      id: '42',
      parameters: { top: 2 },
      inputs: [input()],
    });
    const body = (await response.clone().json()) as Record<string, unknown>;
    expect(body).toMatchObject({ model_name: 'vit', model_version: '1', id: '42' });
    const { logits, classes, scores, labels } = await outputsOf(response);
    const expected = await model.predict([given()], { top: 2 });
    expect(logits).toEqual({
      name: 'logits',
      datatype: 'FP32',
      shape: [2, model.labels.length],
      data: expected.flatMap((each) => Array.from(each.logits.data)),
    });
    const all = expected.flatMap(({ predictions }) => predictions);
    expect([classes!.datatype, classes!.shape, classes!.data]).toEqual([
      'INT64',
      [2, 2],
      all.map(({ index }) => index),
    ]);
    expect(labels!.data).toEqual(all.map(({ label }) => label));
    expect(scores!.data).toEqual(all.map(({ score }) => score));
  });

  it('takes nested data, and gives the outputs that are asked for, in their order', async () => {
    const nested = Array.from({ length: 2 }, (_, n) =>
      Array.from({ length: 3 * side }, (_, row) =>
        Array.from(tensor.subarray((n * 3 * side + row) * side, (n * 3 * side + row + 1) * side)),
      ),
    );
    const response = await postJson(at('/v2/models/vit/infer'), {
      inputs: [{ ...input(), data: nested }],
      outputs: [{ name: 'labels' }, { name: 'logits' }],
    });
    const outputs = await outputsOf(response);
    expect(Object.keys(outputs)).toEqual(['labels', 'logits']);
    const expected = await model.predict([given()]);
    expect(outputs['logits']!.data).toEqual(expected.flatMap((each) => Array.from(each.logits.data)));
  });

  it('explains by parameters: lists and pairs are JSON in a text', async () => {
    const response = await postJson(at('/v2/models/vit/explain'), {
      parameters: { method: 'gae', targets: '["top1", {"of": 3, "against": 5}]', size: 'grid' },
      inputs: [input()],
    });
    const { explain, targets } = await outputsOf(response);
    const expected = await model.explain([given()], {
      method: 'gae',
      targets: ['top1', { of: 3, against: 5 }],
      size: 'grid',
    });
    const maps = expected.flatMap((each) => each.maps);
    expect(explain!.shape).toEqual([2, 2, ...maps[0]!.shape]);
    expect(explain!.data).toEqual(maps.flatMap(({ data }) => Array.from(data)));
    expect(targets!.data).toEqual(maps.map(({ target }) => target.index));
  });

  it('takes and gives tensors in binary, and JSON beside them', async () => {
    const bytes = Buffer.from(tensor.buffer);
    const header = Buffer.from(
      JSON.stringify({
        parameters: { method: 'attention-rollout', size: 'grid', binary_data_output: true },
        inputs: [
          {
            name: 'input',
            shape: [2, 3, side, side],
            datatype: 'FP32',
            parameters: { binary_data_size: bytes.length },
          },
        ],
        outputs: [{ name: 'explain' }, { name: 'labels' }, { name: 'targets', parameters: { binary_data: false } }],
      }),
    );
    const response = await post(at('/v2/models/vit/explain'), Buffer.concat([header, bytes]), {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(header.length),
    });
    expect(response.status).toBe(200);
    const length = Number(response.headers.get('inference-header-content-length'));
    const body = Buffer.from(await response.arrayBuffer());
    const { outputs } = JSON.parse(body.toString('utf8', 0, length)) as {
      outputs: { name: string; parameters?: { binary_data_size: number }; data?: unknown }[];
    };
    const [explain, labels, targets] = outputs;
    const expected = await model.explain([given()], { method: 'attention-rollout', size: 'grid' });
    const size = explain!.parameters!.binary_data_size;
    expect(new Float32Array(new Uint8Array(body.subarray(length, length + size)).buffer)).toEqual(
      Float32Array.from(expected.flatMap(({ maps }) => Array.from(maps[0]!.data))),
    );
    // Each text behind its length in four bytes.
    const first = expected[0]!.predictions[0]!.label;
    expect(body.readUInt32LE(length + size)).toBe(Buffer.byteLength(first));
    expect(body.toString('utf8', length + size + 4, length + size + 4 + first.length)).toBe(first);
    expect(length + size + labels!.parameters!.binary_data_size).toBe(body.length);
    expect(targets!.data).toEqual(expected.map(({ maps }) => maps[0]!.target.index));
  });

  it('takes pictures as BYTES, in base64 or in binary, and as pixels', async () => {
    const [expected] = await model.predict([cat]);
    const logits = Array.from(expected!.logits.data);
    const text = { name: 'image', shape: [1], datatype: 'BYTES', data: [cat.toString('base64')] };
    const json = await postJson(at('/v2/models/vit/infer'), { inputs: [text] });
    expect((await outputsOf(json))['logits']!.data).toEqual(logits);

    const length = Buffer.alloc(4);
    length.writeUInt32LE(cat.length);
    const header = Buffer.from(
      JSON.stringify({
        inputs: [{ name: 'image', shape: [1], datatype: 'BYTES', parameters: { binary_data_size: cat.length + 4 } }],
      }),
    );
    const binary = await post(at('/v2/models/vit/infer'), Buffer.concat([header, length, cat]), {
      'inference-header-content-length': String(header.length),
    });
    expect((await outputsOf(binary))['logits']!.data).toEqual(logits);

    const pixels = Uint8Array.from({ length: 20 * 30 * 3 }, (_, i) => (i * 7) % 256);
    const [ofPixels] = await model.predict([{ data: pixels, width: 30, height: 20, channels: 3 }]);
    const raw = { name: 'image', shape: [1, 20, 30, 3], datatype: 'UINT8', data: Array.from(pixels) };
    const response = await postJson(at('/v2/models/vit/infer'), { inputs: [raw] });
    expect((await outputsOf(response))['logits']!.data).toEqual(Array.from(ofPixels!.logits.data));
  });

  const wrong = (change: object): object => ({ inputs: [{ ...input(), ...change }] });
  it.each([
    ['no inputs', () => ({}), '"inputs"'],
    ['another name', () => wrong({ name: 'pixels' }), 'Expected "input"'],
    ['another size', () => wrong({ shape: [6, 1, side, side] }), 'the model takes [N, 3, '],
    ['too few values', () => wrong({ data: [1, 2, 3] }), '3 values'],
    ['texts', () => wrong({ data: ['a'] }), 'not all of FP32'],
    ['another type', () => wrong({ datatype: 'FP16' }), 'FP32, UINT8, BYTES'],
    ['a size of 0', () => wrong({ shape: [0, 3, side, side] }), 'at least 1'],
    ['bytes that are not there', () => wrong({ parameters: { binary_data_size: 8 } }), 'binary_data_size'],
    ['two inputs', () => ({ inputs: [input(), input()] }), 'one tensor'],
    ['an unknown output', () => ({ inputs: [input()], outputs: [{ name: 'x' }] }), 'no such output'],
    ['an unknown parameter', () => ({ inputs: [input()], parameters: { nope: 1 } }), 'nope'],
  ])('refuses %s', async (_name, body, sentence) => {
    const response = await postJson(at('/v2/models/vit/infer'), body());
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { error: expect.stringContaining(sentence) as string },
    ]);
  });

  it.each([
    ['a header that is longer than the body', '999999'],
    ['a header that is no number', 'x'],
    ['bytes that no tensor has', '2'],
  ])('refuses %s', async (_name, length) => {
    const response = await post(at('/v2/models/vit/infer'), Buffer.from('{}   '), {
      'inference-header-content-length': length,
    });
    expect([response.status, await response.json()]).toMatchObject([400, { code: 'INVALID_REQUEST' }]);
  });
});
