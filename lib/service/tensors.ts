import { littleEndian } from './answers.js';
import { parseJson } from './body.js';
import type { Answer } from './call.js';
import { json } from './call.js';
import { ServiceFailure } from './failure.js';
import { fromBase64 } from './images.js';

/** Datatypes of protocol V2 that come in here. */
export const DATATYPES = ['FP32', 'UINT8', 'BYTES'] as const;
type Datatype = (typeof DATATYPES)[number];

/** A tensor of a request: numbers for FP32 and UINT8, byte strings for BYTES. */
export interface RequestTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values:
    | { readonly datatype: 'FP32'; readonly data: Float32Array }
    | { readonly datatype: 'UINT8'; readonly data: Uint8Array }
    | { readonly datatype: 'BYTES'; readonly data: readonly Uint8Array[] };
}

/** A tensor of an answer. */
export interface AnswerTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values:
    | { readonly datatype: 'FP32'; readonly data: Float32Array }
    | { readonly datatype: 'INT64'; readonly data: readonly number[] }
    | { readonly datatype: 'BYTES'; readonly data: readonly string[] };
}

/** The header of the binary tensor extension: how many bytes of the body are JSON. */
export const JSON_LENGTH = 'inference-header-content-length';

interface WrittenTensor {
  readonly name?: unknown;
  readonly shape?: unknown;
  readonly datatype?: unknown;
  readonly data?: unknown;
  readonly parameters?: unknown;
}

const refuse = (message: string): never => {
  throw new ServiceFailure('INVALID_REQUEST', message);
};

/** The JSON of a request and its tensors; those that are binary are views of the body. */
export function readTensors(
  body: Buffer,
  jsonLength: string | null,
): { readonly header: Record<string, unknown>; readonly tensors: readonly RequestTensor[] } {
  const length = jsonLength === null ? body.length : Number(jsonLength);
  if (jsonLength !== null && (!/^\d{1,15}$/.test(jsonLength) || length > body.length)) {
    refuse(`Inference-Header-Content-Length is no number of bytes from 0 to ${body.length}, the length of the body.`);
  }
  const header = parseJson(body.subarray(0, length));
  const { inputs } = header;
  if (!Array.isArray(inputs) || inputs.length === 0) return refuse('Expected "inputs" to be a list of tensors.');
  let at = length;
  const tensors = (inputs as readonly unknown[]).map((written, i): RequestTensor => {
    const name = `inputs[${i}]`;
    if (typeof written !== 'object' || written === null) return refuse(`${name} is no tensor.`);
    const tensor = written as WrittenTensor;
    const { parameters = {} } = tensor;
    if (!isObject(parameters)) refuse(`The parameters of ${name} are no object.`);
    const { binary_data_size: size } = parameters as { readonly binary_data_size?: unknown };
    if (size === undefined) return readTensor(tensor, name, null);
    if (!Number.isSafeInteger(size) || (size as number) < 0 || at + (size as number) > body.length) {
      refuse(`The binary_data_size of ${name} is not within the ${body.length - at} bytes that are left of the body.`);
    }
    const bytes = body.subarray(at, at + (size as number));
    at += size as number;
    return readTensor(tensor, name, bytes);
  });
  if (at !== body.length) refuse(`The body has ${body.length - at} bytes after its last tensor.`);
  return { header, tensors };
}

function readTensor({ name, shape, datatype, data }: WrittenTensor, at: string, bytes: Buffer | null): RequestTensor {
  if (typeof name !== 'string' || name === '') return refuse(`${at} has no name.`);
  if (!isShape(shape)) return refuse(`The shape of ${at} is no list of whole numbers of at least 1.`);
  if (!DATATYPES.some((known) => known === datatype)) {
    return refuse(`The datatype of ${at} is not one that is taken here: ${DATATYPES.join(', ')}.`);
  }
  const count = shape.reduce((product, length) => product * length, 1);
  const kind = datatype as Datatype;
  const values = bytes === null ? fromList(kind, data, at) : fromBytes(kind, bytes, at);
  if (values.data.length !== count) {
    refuse(`${at} has ${values.data.length} values, and its shape [${shape.join(', ')}] asks for ${count}.`);
  }
  return { name, shape, values };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isShape(shape: unknown): shape is readonly number[] {
  return (
    Array.isArray(shape) &&
    shape.length > 0 &&
    shape.length <= 8 &&
    shape.every((length) => Number.isSafeInteger(length) && (length as number) > 0)
  );
}

/** Flat or nested, row-major. */
function fromList(datatype: Datatype, data: unknown, at: string): RequestTensor['values'] {
  if (!Array.isArray(data)) return refuse(`The data of ${at} is no list.`);
  const flat = (data as readonly unknown[]).flat(8) as readonly unknown[];
  if (datatype === 'BYTES') {
    return {
      datatype,
      data: flat.map((text) => (typeof text === 'string' ? fromBase64(text, at) : refuse(`${at} holds no texts.`))),
    };
  }
  const isOfType =
    datatype === 'FP32'
      ? (value: unknown) => typeof value === 'number'
      : (value: unknown) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 255;
  if (!flat.every(isOfType)) refuse(`The data of ${at} is not all of ${datatype}.`);
  const numbers = flat as readonly number[];
  return datatype === 'FP32'
    ? { datatype, data: Float32Array.from(numbers) }
    : { datatype, data: Uint8Array.from(numbers) };
}

function fromBytes(datatype: Datatype, bytes: Buffer, at: string): RequestTensor['values'] {
  if (datatype === 'UINT8') return { datatype, data: bytes };
  if (datatype === 'FP32') {
    if (bytes.length % 4 !== 0) refuse(`The ${bytes.length} bytes of ${at} are no whole number of FP32 values.`);
    // Copied: where the body's JSON ends is seldom where a float may begin.
    const data = new Float32Array(bytes.length / 4);
    bytes.copy(new Uint8Array(data.buffer));
    return { datatype, data };
  }
  const data: Uint8Array[] = [];
  for (let start = 0; start < bytes.length;) {
    const from = start + 4;
    const end = from <= bytes.length ? from + bytes.readUInt32LE(start) : Infinity;
    if (end > bytes.length) return refuse(`The bytes of ${at} end within an element.`);
    data.push(bytes.subarray(from, end));
    start = end;
  }
  return { datatype, data };
}

/**
 * An answer's tensors as JSON, and those of `binary` behind it as bytes.
 *
 * @param header what the answer says beside its tensors
 */
export function writeTensors(
  header: Readonly<Record<string, unknown>>,
  tensors: readonly AnswerTensor[],
  binary: (name: string) => boolean,
): Answer {
  const parts: Buffer[] = [];
  const outputs = tensors.map(({ name, shape, values }) => {
    const { datatype } = values;
    if (!binary(name)) return { name, shape, datatype, data: Array.from<unknown>(values.data) };
    const bytes = toBytes(values);
    parts.push(bytes);
    return { name, shape, datatype, parameters: { binary_data_size: bytes.length } };
  });
  const body = { ...header, outputs };
  if (parts.length === 0) return json(body);
  const text = Buffer.from(JSON.stringify(body));
  return {
    status: 200,
    headers: { 'content-type': 'application/octet-stream', [JSON_LENGTH]: String(text.length) },
    body: Buffer.concat([text, ...parts]),
  };
}

function toBytes(values: AnswerTensor['values']): Buffer {
  if (values.datatype === 'FP32') return littleEndian(values.data);
  if (values.datatype === 'INT64') return Buffer.from(BigInt64Array.from(values.data, BigInt).buffer);
  return Buffer.concat(
    values.data.flatMap((text) => {
      const bytes = Buffer.from(text);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}
