import type { AttentionAnswer } from '../service/attention.js';
import type { ExplanationAnswer, MapAnswer } from '../service/answers.js';
import type { ModelParts, ServedModel } from '../service/about.js';
import type { MaximizedLine, MaximizeLine } from '../service/maximize.js';
import type { MethodDescription } from '../requests/describe.js';
import type { MaximizeQuestion } from './maximize-question.js';
import { floatsOf, type MapValues } from './paint.js';
import type { Shown, Target } from './state.js';

/** What the service refused, in its own sentence. */
export class Refusal extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const TOKEN = 'sightline-token';

export function keepToken(token: string): void {
  sessionStorage.setItem(TOKEN, token);
}

/** Relative, since the service may lie below a path. */
async function ask(path: string, init: RequestInit & { readonly headers?: Record<string, string> } = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...init.headers, ...(token !== null && { authorization: `Bearer ${token}` }) };
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Refusal('UNREACHABLE', 'The service does not answer; see whether it still runs.');
  }
  if (response.ok) return response;
  const told = (await response.json().catch(() => ({}))) as { code?: string; error?: string };
  throw new Refusal(told.code ?? String(response.status), told.error ?? `The service answered ${response.status}.`);
}

export async function readService(): Promise<{
  models: readonly ServedModel[];
  methods: readonly MethodDescription[];
}> {
  const [about, known] = await Promise.all([ask('models'), ask('methods')]);
  const { models } = (await about.json()) as { models: readonly ServedModel[] };
  const { methods } = (await known.json()) as { methods: readonly MethodDescription[] };
  return { models, methods };
}

export async function readBytes(file: string): Promise<Blob> {
  return (await ask(`page/${file}`)).blob();
}

export async function readText(file: string): Promise<string> {
  return (await ask(`page/${file}`)).text();
}

/** What is asked of one picture. */
export interface Question {
  readonly model: string;
  readonly method: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly target: Target | null;
  /** Of a copy that has learned nothing, where it is to be asked. */
  readonly weights?: 'shuffled';
}

/** A map with its own values, and what the answer says besides. */
export type ExplainedMap = Omit<MapAnswer, 'data' | 'b64'> & MapValues;

export interface Explained extends Omit<ExplanationAnswer, 'maps'> {
  readonly model: string;
  /** What it answers. */
  readonly question: Question;
  readonly map: ExplainedMap;
}

/** How many of the best classes are listed. */
const TOP = 6;

/** Raw, so that the legend can tell the true range; as the method computes it, so that little travels. */
export function queryOf({ model, method, options, target, weights }: Question): URLSearchParams {
  const query = new URLSearchParams({ model, method, raw: 'true', size: 'grid', top: String(TOP) });
  if (target !== null) {
    const { of, against } = target;
    query.set('target', against === undefined ? String(of) : JSON.stringify({ of, against }));
  }
  for (const [name, value] of Object.entries(options)) query.set(name, JSON.stringify(value));
  if (weights !== undefined) query.set('weights', weights);
  return query;
}

const post = (path: string, query: URLSearchParams, picture: Shown, signal: AbortSignal, accept = 'application/json') =>
  ask(`${path}?${query.toString()}`, {
    method: 'POST',
    body: picture.bytes,
    headers: { 'content-type': 'application/octet-stream', accept },
    signal,
  });

/** Answers by what was asked, the latest last: a slider that is dragged back redraws at once. */
const kept = new Map<string, unknown>();
const MOST_KEPT = 200;

async function once<T>(key: string, work: () => Promise<T>): Promise<T> {
  if (kept.has(key)) return kept.get(key) as T;
  const answer = await work();
  kept.set(key, answer);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value!);
  return answer;
}

export function explain(picture: Shown, question: Question, signal: AbortSignal): Promise<Explained> {
  const query = queryOf(question);
  return once(`explain ${picture.id} ${query.toString()}`, async () => {
    query.set('encoding', 'base64');
    const answer = (await (await post('explain', query, picture, signal)).json()) as ExplanationAnswer & {
      model: string;
    };
    const { b64, ...map } = answer.maps[0]!;
    return { ...answer, question, map: { ...map, data: floatsOf(b64!) } };
  });
}

/** The map as the service writes it for numpy. */
export async function explainAsNpy(picture: Shown, question: Question): Promise<Blob> {
  const signal = new AbortController().signal;
  return (await post('explain', queryOf(question), picture, signal, 'application/x-npy')).blob();
}

export interface AttentionQuestion {
  readonly model: string;
  readonly of?: AttentionAnswer['of'];
  readonly rows?: AttentionAnswer['rows'];
  readonly block?: number;
  readonly head?: number;
}

export interface Attention extends Omit<AttentionAnswer, 'data' | 'b64'> {
  /** One after another, as `maps` lists them. */
  readonly values: readonly MapValues[];
}

export function attention(picture: Shown, question: AttentionQuestion, signal: AbortSignal): Promise<Attention> {
  const query = new URLSearchParams(
    Object.entries({ ...question, encoding: 'base64' }).map(([name, value]) => [name, String(value)]),
  );
  return once(`attention ${picture.id} ${query.toString()}`, async () => {
    const answer = (await (await post('attention', query, picture, signal)).json()) as AttentionAnswer;
    const [count, rows, columns] = answer.shape;
    const all = floatsOf(answer.b64!);
    const area = rows * columns;
    return {
      ...answer,
      values: Array.from({ length: count }, (_, i) => ({
        data: all.subarray(i * area, (i + 1) * area),
        shape: [rows, columns] as const,
      })),
    };
  });
}

/** The nodes of a model, by name. */
export function partsOf(model: string, signal: AbortSignal): Promise<ModelParts> {
  return once(`parts ${model}`, async () => (await (await ask(`models/${model}`, { signal })).json()) as ModelParts);
}

/** Tells of each picture as it comes. Aborting ends the work in the engine. */
export async function maximize(
  question: MaximizeQuestion,
  signal: AbortSignal,
  onLine: (line: MaximizeLine) => void,
): Promise<MaximizedLine> {
  const { body } = await ask('maximize', {
    method: 'POST',
    body: JSON.stringify(question),
    headers: { 'content-type': 'application/json', accept: 'application/x-ndjson' },
    signal,
  });
  const reader = body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Refusal('CUT_OFF', 'The service ended before the picture was made.');
    const lines = (text + value).split('\n');
    text = lines.pop()!;
    for (const line of lines) {
      const told = JSON.parse(line) as MaximizeLine | MaximizedLine | { readonly error: string; readonly code: string };
      if ('error' in told) throw new Refusal(told.code, told.error);
      if ('objective' in told) return told;
      onLine(told);
    }
  }
}

export const bytesOf = (b64: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(b64), (character) => character.charCodeAt(0));
