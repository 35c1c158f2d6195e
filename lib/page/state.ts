/** What the page shows, in one object; `App` holds it, and every change makes a new one. */
import type { ServedModel } from '../service/about.js';
import type { MethodDescription } from '../requests/describe.js';
import type { Colormap } from '../pictures/colormaps.js';
import type { Wanted } from './maximize-question.js';

/** A picture that comes with the page. */
export interface Sample {
  readonly id: string;
  readonly file: string;
  readonly thumb: string;
  /** What is on it, for those who do not see it. */
  readonly title: string;
  readonly credit: string;
  /** What models that know its kind of thing may call its objects. */
  readonly labels: readonly string[];
  readonly width: number;
  readonly height: number;
}

/** The picture that is explained. The service keeps none, so its bytes go along with each request. */
export interface Shown {
  /** Another picture has another number. */
  readonly id: number;
  readonly name: string;
  readonly bytes: Blob;
  readonly bitmap: ImageBitmap;
  readonly sample: Sample | null;
}

/** One map of those that stand side by side. */
export interface Panel {
  readonly id: number;
  readonly model: string;
  readonly method: string;
  /** The method's own options where they differ from its defaults. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** Classes by their number. */
export interface Target {
  readonly of: number;
  readonly against?: number;
}

/** How maps are painted; the browser alone does this. */
export interface Look {
  readonly view: 'heat' | 'contour' | 'mask';
  /** Share of the color over the picture. */
  readonly opacity: number;
  /** Share of the range below which nothing is painted. */
  readonly threshold: number;
  readonly colormap: Colormap;
}

/** The same part of each picture is shown. */
export interface Zoom {
  readonly scale: number;
  /** Of the visible part's middle, as shares of the picture. */
  readonly x: number;
  readonly y: number;
}

export type Tab = 'compare' | 'attention' | 'sheet' | 'maximize';

/** Where the attention explorer stands. */
export interface Explored {
  readonly model: string;
  readonly block: number;
  /** Null is the mean of all. */
  readonly head: number | null;
  /** The patch's number, row by row; null is the token that is classified. */
  readonly patch: number | null;
  readonly of: 'probabilities' | 'query' | 'key' | 'value';
}

export interface State {
  readonly models: readonly ServedModel[];
  readonly methods: readonly MethodDescription[];
  readonly picture: Shown | null;
  readonly tab: Tab;
  readonly panels: readonly Panel[];
  /** By model; none asks for the best class. */
  readonly targets: Readonly<Record<string, Target>>;
  readonly look: Look;
  readonly zoom: Zoom;
  readonly explored: Explored | null;
  /** Methods of the sheet's rows. */
  readonly rows: readonly string[];
  /** Whether the sheet's maps share one range. */
  readonly isOneRange: boolean;
  /** What is maximized, or was last. */
  readonly wanted: Wanted | null;
}

export type Change = (change: Partial<State> | ((state: State) => Partial<State>)) => void;

export const WHOLE: Zoom = { scale: 1, x: 0.5, y: 0.5 };
export const LOOK: Look = { view: 'heat', opacity: 0.55, threshold: 0, colormap: 'turbo' };

export const hasAttention = ({ attention, tokens }: ServedModel): boolean => attention.length > 0 && tokens !== null;

/** Why a method does not apply to a model; null where it does. */
export function reasonAgainst(model: ServedModel, method: string): string | null {
  const found = model.methods.find(({ name }) => name === method);
  return found === undefined ? 'this service does not offer it' : found.reason;
}

export const applies = (model: ServedModel, method: string): boolean => reasonAgainst(model, method) === null;

/** The method that a panel begins with: a map of the class where one is quick, else the model's own. */
export function firstMethod(model: ServedModel): string {
  const quick = hasAttention(model) ? ['gae', 'gradient-rollout', 'attention-rollout'] : ['cam', 'grad-cam'];
  return (
    quick.find((method) => applies(model, method)) ??
    model.preferred ??
    model.methods.find(({ reason }) => reason === null)?.name ??
    'grad-cam'
  );
}

/** A CNN beside a ViT, those first that know what is on the picture; of one model alone, two methods. */
export function firstPanels(models: readonly ServedModel[], sample: Sample | null): Panel[] {
  const knowing = models.filter((model) => knows(model, sample));
  const pool = [...knowing, ...models.filter((model) => !knowing.includes(model))];
  const convolutional = pool.find((model) => !hasAttention(model));
  const transformer = pool.find(hasAttention);
  const chosen = [convolutional, transformer].filter((model) => model !== undefined);
  const panels = chosen.map((model, i) => ({ id: i + 1, model: model.name, method: firstMethod(model), options: {} }));
  if (panels.length !== 1) return panels;
  const [only] = panels;
  const second = ['grad-cam++', 'grad-cam', 'attention-rollout', 'gradient'].find(
    (method) => method !== only!.method && applies(chosen[0]!, method),
  );
  return second === undefined ? panels : [only!, { id: 2, model: only!.model, method: second, options: {} }];
}

/** Whether a model has a class for what is on a sample; of other pictures nobody knows. */
export function knows(model: ServedModel, sample: Sample | null): boolean {
  return sample === null || sample.labels.some((label) => model.labels.includes(label));
}

export const labelOf = (model: ServedModel, index: number): string => model.labels[index] ?? `class ${index}`;
