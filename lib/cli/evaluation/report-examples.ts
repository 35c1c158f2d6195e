import { median } from '../../bench/statistics.js';
import type { Input } from '../../images/inputs.js';
import type { Model } from '../../model/model.js';
import type { JudgedMethod, Judgement } from '../../requests/evaluate/evaluate.js';
import type { NamedOptions } from '../../requests/explain.js';
import type { MethodName } from '../../methods/index.js';
import { SightlineError } from '../../support/errors.js';
import { readInputs } from '../input-files.js';
import type { JudgedPicture } from './judging.js';
import type { Cost } from './report-charts.js';

/** As many pictures are shown as the best of a metric, and as many as the worst. */
const SHOWN = 2;
/** The width of an overlay in pixels, twice what a page shows of it. */
const WIDTH = 448;

/** One class of one picture, with what each method got for it. */
export interface Example {
  readonly picture: JudgedPicture;
  /** Of the targets of the picture the number of this one. */
  readonly target: number;
  /** By method. */
  readonly judgements: readonly Judgement[];
}

/** Of one metric. */
export interface Examples {
  readonly metric: string;
  readonly best: readonly Example[];
  readonly worst: readonly Example[];
}

/**
 * The pictures that the methods together did best and worst at, by the mean of their figures; the extreme one first. No
 * picture is in both.
 */
export function examplesOf(judged: readonly JudgedPicture[], metric: string, better: 'higher' | 'lower'): Examples {
  const sign = better === 'higher' ? -1 : 1;
  const ranked = judged
    .flatMap((picture) =>
      picture.judgements[0]!.map((_, target): Example => ({
        picture,
        target,
        judgements: picture.judgements.map((ofMethod) => ofMethod[target]!),
      })),
    )
    .flatMap((example) => {
      const figures = example.judgements.map(({ figures: all }) => all[metric]!).filter(Number.isFinite);
      return figures.length === 0
        ? []
        : [{ example, mean: figures.reduce((sum, figure) => sum + figure, 0) / figures.length }];
    })
    .sort((a, b) => sign * (a.mean - b.mean))
    .map(({ example }) => example);
  const best = ranked.slice(0, Math.min(SHOWN, Math.ceil(ranked.length / 2)));
  const worst = ranked.slice(best.length).slice(-SHOWN).reverse();
  return { metric, best, worst };
}

/** A method as it was asked for, with the name of its rows. */
export interface AskedMethod {
  readonly label: string;
  readonly asked: JudgedMethod;
}

/** What `explain` is asked for to get a map that was judged. */
export function optionsOf(
  asked: JudgedMethod,
  { index, against }: Judgement['target'],
  signal: AbortSignal,
): NamedOptions<MethodName> {
  const { label: _label, ...named } = typeof asked === 'string' ? { method: asked, label: '' } : asked;
  return {
    ...named,
    // A model without classes has one score, and no class is asked for.
    ...(index >= 0 && { targets: [against === undefined ? index : { of: index, against: against.index }] }),
    signal,
  } as unknown as NamedOptions<MethodName>;
}

/** Overlays as WebP in data URIs, and what explaining took. */
export class Overlays {
  readonly #uris = new Map<string, string>();
  readonly #seconds: number[][];

  constructor(
    private readonly model: Pick<Model, 'explain'>,
    private readonly methods: readonly AskedMethod[],
    private readonly signal: AbortSignal,
    private readonly now: () => number = () => performance.now() / 1000,
  ) {
    this.#seconds = methods.map(() => []);
  }

  /** Explains an example by each method once, alone; an example that was drawn already is not explained again. */
  async draw({ picture, judgements }: Example): Promise<void> {
    const keys = this.methods.map((_, at) => keyOf(picture, judgements[at]!, at));
    if (keys.every((key) => this.#uris.has(key))) return;
    const input = await inputOf(picture);
    for (const [at, { asked }] of this.methods.entries()) {
      const options = optionsOf(asked, judgements[at]!.target, this.signal);
      // The first run of a method makes its program, which the others find.
      if (this.#seconds[at]!.length === 0) await this.model.explain([input], options);
      const since = this.now();
      const [explained] = await this.model.explain([input], options);
      this.#seconds[at]!.push(this.now() - since);
      const bytes = await explained!.maps[0]!.overlay({ width: WIDTH }).toBuffer({ format: 'webp', quality: 75 });
      this.#uris.set(keys[at]!, `data:image/webp;base64,${bytes.toString('base64')}`);
    }
  }

  /** @param method its number */
  uriOf({ picture, judgements }: Example, method: number): string {
    return this.#uris.get(keyOf(picture, judgements[method]!, method))!;
  }

  /** Of each method, the median over the examples. */
  costs(): Cost[] {
    return this.methods.flatMap(({ label: method }, at) => {
      const { length: count } = this.#seconds[at]!;
      if (count === 0) return [];
      const seconds = median(this.#seconds[at]!);
      return [{ method, seconds, count }];
    });
  }
}

const keyOf = ({ image }: JudgedPicture, { target }: Judgement, method: number): string =>
  JSON.stringify([image, target.index, target.against?.index ?? null, method]);

/** The image that a picture stands for. */
export async function inputOf({ picture, image }: JudgedPicture): Promise<Input> {
  for await (const named of readInputs([picture.image])) if (named.image === image) return named.input;
  throw new SightlineError('FILE_NOT_FOUND', `${image} was judged, and is not there any more to be drawn.`);
}
