import { cut } from '../support/cut.js';
import { parseJson } from './body.js';
import type { Exchange } from './exchange.js';
import { ServiceFailure } from './failure.js';
import { fromBase64, pictureOf } from './images.js';

/** One picture, and what is asked of it. */
export interface PictureRequest {
  readonly image: Uint8Array;
  readonly options: Readonly<Record<string, unknown>>;
}

/**
 * An image file as it is, a form with the file in the field `image`, or JSON; options also stand in the query.
 *
 * @throws ServiceFailure INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE
 */
export async function readRequest(exchange: Exchange): Promise<PictureRequest> {
  const { call } = exchange;
  const type = call.header('content-type') ?? 'application/octet-stream';
  const media = type.split(';')[0]!.trim().toLowerCase();
  const inQuery = fieldsOf(call.query);
  if (media === 'multipart/form-data') {
    const form = await readForm(await exchange.read(), type);
    return { image: pictureOf(form.image, 'image'), options: together(inQuery, form.options) };
  }
  if (media === 'application/json') {
    const { image, ...options } = parseJson(await exchange.read());
    const b64 = typeof image === 'object' && image !== null ? (image as { b64?: unknown }).b64 : undefined;
    if (typeof b64 !== 'string') {
      throw new ServiceFailure(
        'INVALID_REQUEST',
        'Expected {"image": {"b64": "..."}} with the base64 of an image file.',
      );
    }
    return { image: pictureOf(fromBase64(b64, 'image'), 'image'), options: together(inQuery, options) };
  }
  if (media.startsWith('image/') || media === 'application/octet-stream') {
    return { image: pictureOf(await exchange.read(), 'image'), options: inQuery };
  }
  throw new ServiceFailure(
    'UNSUPPORTED_MEDIA_TYPE',
    'Send an image file as it is, a form with the file in the field "image", or JSON.',
  );
}

async function readForm(
  body: Buffer,
  type: string,
): Promise<{ readonly image: Uint8Array; readonly options: Record<string, unknown> }> {
  holdFields(body, type);
  let form: FormData;
  try {
    form = await new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData();
  } catch {
    throw new ServiceFailure('INVALID_REQUEST', 'The body is no form of the type that its header says.');
  }
  const files = form.getAll('image');
  form.delete('image');
  const [image, second] = files;
  if (image === undefined || typeof image === 'string' || second !== undefined) {
    throw new ServiceFailure('INVALID_REQUEST', 'Expected one file in the field "image" of the form.');
  }
  const texts: [string, string][] = [];
  for (const [field, value] of form) {
    if (typeof value !== 'string') {
      throw new ServiceFailure('INVALID_REQUEST', 'The form has a file in another field than "image".');
    }
    texts.push([field, value]);
  }
  return { image: new Uint8Array(await image.arrayBuffer()), options: fieldsOf(texts) };
}

const givenTwice = (field: string): ServiceFailure =>
  new ServiceFailure('INVALID_REQUEST', `The field ${cut(field)} is given twice.`);

/** Options of the query and of the body; neither overrules the other. */
function together(
  inQuery: Readonly<Record<string, unknown>>,
  inBody: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  for (const name of Object.keys(inBody)) if (Object.hasOwn(inQuery, name)) throw givenTwice(name);
  return { ...inQuery, ...inBody };
}

/** More than any request has options. Each takes the parser's time, and the JavaScript thread's with it. */
const MOST_FIELDS = 1000;

/** Counts them by the boundary between them, before the form is parsed. */
function holdFields(body: Buffer, type: string): void {
  const boundary = /;\s*boundary=(?:"([^"]+)"|([^\s;"]+))/i.exec(type);
  if (boundary === null) return;
  const mark = `--${boundary[1] ?? boundary[2]!}`;
  let count = 0;
  for (let at = body.indexOf(mark); at >= 0; at = body.indexOf(mark, at + mark.length)) {
    if (++count <= MOST_FIELDS) continue;
    throw new ServiceFailure(
      'INVALID_REQUEST',
      `The form has more than ${MOST_FIELDS.toLocaleString('en-US')} fields.`,
    );
  }
}

/** Fields that may come several times, and the option that they make. */
const LISTS: Readonly<Record<string, string>> = { target: 'targets', layer: 'layer' };
/** Fields whose text is meant, whatever it looks like. */
const TEXTS: ReadonlySet<string> = new Set(['model', 'method']);

/** Fields of a query or a form as options: values as JSON where they are JSON, else as text. */
function fieldsOf(fields: Iterable<readonly [string, string]>): Record<string, unknown> {
  // Not an object while it grows: a field may be called `__proto__`.
  const options = new Map<string, unknown>();
  const lists = new Map<string, unknown[]>();
  for (const [field, text] of fields) {
    if (Object.hasOwn(LISTS, field)) {
      const option = LISTS[field]!;
      // A layer's name and a class's number are texts to the library; a pair is an object.
      const value = text.startsWith('{') ? valueOf(text) : text;
      const list = lists.get(option);
      if (list === undefined) lists.set(option, [value]);
      else list.push(value);
      continue;
    }
    if (options.has(field)) throw givenTwice(field);
    options.set(field, TEXTS.has(field) ? text : valueOf(text));
  }
  for (const option of lists.keys()) if (options.has(option)) throw givenTwice(option);
  return Object.fromEntries([...options, ...lists]);
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
