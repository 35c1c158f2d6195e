/** What leaves the page: its link, commands, code and files. */
import type { ViewFile, ViewPanel } from '../pictures/view-file.js';
import { viewHtml } from '../pictures/view-file.js';
import { readText, type Explained, type Question } from './api.js';
import { boxOf } from './boxes.js';
import type { Wanted } from './maximize-question.js';
import {
  applies,
  type Explored,
  type Look,
  type Panel,
  type Shown,
  type State,
  type Tab,
  type Target,
} from './state.js';
import type { ServedModel } from '../service/about.js';
import type { MethodDescription } from '../requests/describe.js';

/** What a link holds. The picture only by the name of a sample: a link has no room for pixels. */
interface Linked {
  readonly picture: string | null;
  readonly tab: Tab;
  readonly panels: readonly Omit<Panel, 'id'>[];
  readonly targets: Readonly<Record<string, Target>>;
  readonly look: Look;
  readonly explored: Explored | null;
  readonly rows: readonly string[];
  readonly isOneRange: boolean;
  readonly wanted: Wanted | null;
}

export function linkOf(state: State): string {
  const { picture, tab, panels, targets, look, explored, rows, isOneRange, wanted } = state;
  const linked: Linked = {
    picture: picture?.sample?.id ?? null,
    tab,
    panels: panels.map(({ model, method, options }) => ({ model, method, options })),
    targets,
    look,
    explored,
    rows,
    isOneRange,
    wanted,
  };
  const bytes = new TextEncoder().encode(JSON.stringify(linked));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');
}

export interface Restored {
  readonly state: Partial<State>;
  readonly sample: string | null;
  /** What the link names and this service does not have. */
  readonly missing: readonly string[];
}

/** What a link says, as far as this service has it; null for what is no link of ours. */
export function restored(hash: string, models: readonly ServedModel[]): Restored | null {
  let linked: Partial<Linked>;
  try {
    const bytes = atob(hash.replace(/^#/, '').replaceAll('-', '+').replaceAll('_', '/'));
    linked = JSON.parse(
      new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0))),
    ) as Linked;
  } catch {
    return null;
  }
  if (typeof linked !== 'object' || linked === null || !Array.isArray(linked.panels)) return null;
  const missing: string[] = [];
  const asked = linked.panels as readonly Omit<Panel, 'id'>[];
  const panels = asked.flatMap(({ model: name, method, options }, i): Panel[] => {
    const model = models.find((each) => each.name === name);
    if (model !== undefined && applies(model, method)) return [{ id: i + 1, model: name, method, options }];
    missing.push(`${method} of ${name}`);
    return [];
  });
  const { picture = null, tab = 'compare', targets = {}, look, rows, isOneRange = false } = linked;
  const { explored = null, wanted = null } = linked;
  const isServed = (model: string | undefined): boolean => models.some(({ name }) => name === model);
  return {
    sample: picture,
    missing,
    state: {
      tab,
      targets,
      isOneRange,
      explored: isServed(explored?.model) ? explored : null,
      wanted: isServed(wanted?.model) ? wanted : null,
      ...(look !== undefined && { look }),
      ...(rows !== undefined && { rows }),
      ...(panels.length > 0 && { panels }),
    },
  };
}

const quoted = (text: string): string => (/^[\w./=@%+:,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const written = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** What repeats a map in a shell: `--raw` writes its own values as `.npy`. */
export function commandOf(picture: string, { model, method, options, target }: Question, look: Look): string {
  const words = ['npx', 'sightline', 'explain', picture, '--model', model, '--method', method];
  if (target !== null) {
    words.push('--target', target.against === undefined ? String(target.of) : `${target.of} vs ${target.against}`);
  }
  for (const [name, value] of Object.entries(options)) words.push('--option', `${name}=${written(value)}`);
  words.push('--size', 'grid', '--raw', '--colormap', look.colormap, '--opacity', String(look.opacity), '--legend');
  return words.map(quoted).join(' ');
}

/** The same in a program. */
export function codeOf(picture: string, { model, method, options, target }: Question): string {
  const against = target?.against;
  const targets = target === null ? ['top1'] : [against === undefined ? target.of : { of: target.of, against }];
  const asked = { method, targets, ...options, size: 'grid', raw: true };
  return [
    "import { Model } from 'sightline';",
    '',
    `await using model = await Model.load(${JSON.stringify(model)});`,
    `const [explained] = await model.explain([${JSON.stringify(picture)}], ${JSON.stringify(asked)});`,
    'console.log(explained.predictions, explained.maps[0].data);',
    '',
  ].join('\n');
}

export const isProbability = (model: ServedModel): boolean => model.scores !== 'value';

/** A panel as the HTML file holds it. */
export function viewPanelOf(
  shown: Shown,
  model: ServedModel,
  method: MethodDescription,
  { map, predictions }: Explained,
  command: string,
): ViewPanel {
  const { data, shape, target, state, peak } = map;
  return {
    picture: 0,
    model: model.name,
    method: method.name,
    family: method.family,
    isClassSpecific: method.isClassSpecific,
    isProbability: isProbability(model),
    target,
    predictions,
    state,
    peak,
    shape,
    b64: base64Of(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
    box: boxOf(model, shown.bitmap),
    command,
  };
}

export async function viewFileOf(shown: Shown, panels: readonly ViewPanel[], look: Look): Promise<string> {
  const { name, bytes, bitmap } = shown;
  const b64 = base64Of(new Uint8Array(await bytes.arrayBuffer()));
  const picture = { name, type: bytes.type, b64, width: bitmap.width, height: bitmap.height };
  const view: ViewFile = { pictures: [picture], panels, look };
  return viewHtml(await readText('view.html'), view);
}

function base64Of(bytes: Uint8Array): string {
  let text = '';
  // By pieces: a call takes no million arguments.
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

export function save(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A file name without what file systems trip over. */
export const fileName = (...parts: string[]): string =>
  parts.map((part) => part.replace(/\.\w+$/, '').replace(/[^\w.-]+/g, '-')).join('-');
