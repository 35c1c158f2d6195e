import type { Input } from '../../images/inputs.js';
import type { Model } from '../../model/model.js';
import type { JudgedMethod, JudgingMetric, Judgement } from '../../requests/evaluate/evaluate.js';
import type { ObjectPlace } from '../../requests/evaluate/mask.js';
import { eachOrFailed } from '../bad-images.js';
import { readInputs } from '../input-files.js';
import type { LabelledPicture } from '../labels/labelled-picture.js';
import type { Journal } from './journal.js';
import { Pace } from './pace.js';
import { pictureKey } from './picture-key.js';

/** Pictures that are judged at a time, so that memory stays bounded and progress shows. */
const PORTION = 16;

/** What is asked of each picture. */
export interface Judging {
  readonly model: Pick<Model, 'evaluate'>;
  /** With the labels that `Evaluation` gives them. */
  readonly methods: readonly { readonly label: string; readonly asked: JudgedMethod }[];
  readonly metrics: readonly JudgingMetric[];
  /** The class of pictures that have none of their own. */
  readonly target: string;
  /** Whether objects are given along. */
  readonly hasObjects: boolean;
  /** Where judgements are kept as they come, and found; null where they are not. */
  readonly journal: Journal | null;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

/** A picture that every method was judged of. */
export interface JudgedPicture {
  readonly picture: LabelledPicture;
  /** Its path as given; `batch.npy[2]` for the third of several in one file. */
  readonly image: string;
  /** By method, then by target. */
  readonly judgements: readonly (readonly Judgement[])[];
}

interface Asked {
  readonly picture: LabelledPicture;
  readonly image: string;
  readonly input: Input;
  readonly key: string | null;
}

/** @param failed is given what makes a picture impossible to judge; it is then left out, unless that throws */
export async function judgeAll(
  pictures: readonly LabelledPicture[],
  judging: Judging,
  failed: (image: string, error: unknown) => undefined,
): Promise<JudgedPicture[]> {
  const all: JudgedPicture[] = [];
  const pace = new Pace(pictures.length, judging.methods.length);
  for (let start = 0; start < pictures.length; start += PORTION) {
    const some = pictures.slice(start, start + PORTION);
    const portion = await readPortion(some, judging, failed);
    // A .npy file has several, and one that cannot be read has none.
    pace.expect(portion.length - some.length);
    all.push(...(await judgePortion(portion, judging, pace, failed)));
  }
  return all;
}

async function readPortion(
  pictures: readonly LabelledPicture[],
  { journal }: Judging,
  failed: (image: string, error: unknown) => undefined,
): Promise<Asked[]> {
  const portion: Asked[] = [];
  for (const picture of pictures) {
    for await (const { image, input } of readInputs([picture.image], failed)) {
      portion.push({ picture, image, input, key: journal && (await pictureKey(picture, image, input)) });
    }
  }
  return portion;
}

/** Each method about all pictures, so that they share batches. */
async function judgePortion(
  portion: readonly Asked[],
  judging: Judging,
  pace: Pace,
  failed: (image: string, error: unknown) => undefined,
): Promise<JudgedPicture[]> {
  const { methods, journal } = judging;
  const kept = (asked: Asked, method: string): readonly Judgement[] | undefined =>
    asked.key === null ? undefined : journal?.judgementsOf(asked.key, method);
  const needed = portion.filter((asked) => methods.some(({ label }) => kept(asked, label) === undefined));
  const objects = await readObjects(needed, failed);
  let left = portion.filter((asked) => !needed.includes(asked) || objects.has(asked));
  const judged = new Map(left.map((asked): [Asked, (readonly Judgement[])[]] => [asked, []]));
  for (const [at, { label, asked: method }] of methods.entries()) {
    const due = left.filter((asked) => kept(asked, label) === undefined);
    pace.skip(at, portion.length - due.length);
    const report = pace.start(at);
    const answers = new Map(
      await eachOrFailed(due, (some) => judge(some, method, objects, judging, report, pace), failed),
    );
    pace.skip(at, due.length - answers.size);
    report(answers.size);
    judging.progress(pace.line());
    await journal?.add(
      [...answers].flatMap(([{ key }, judgements]) =>
        key === null ? [] : { picture: key, method: label, judgements },
      ),
    );
    left = left.filter((asked) => answers.has(asked) || !due.includes(asked));
    for (const asked of left) judged.get(asked)!.push(answers.get(asked) ?? kept(asked, label)!);
  }
  return left.map((asked) => ({ picture: asked.picture, image: asked.image, judgements: judged.get(asked)! }));
}

async function readObjects(
  portion: readonly Asked[],
  failed: (image: string, error: unknown) => undefined,
): Promise<Map<Asked, ObjectPlace | null>> {
  const objects = new Map<Asked, ObjectPlace | null>();
  for (const asked of portion) {
    try {
      objects.set(asked, (await asked.picture.object?.read()) ?? null);
    } catch (error) {
      failed(asked.image, error);
    }
  }
  return objects;
}

async function judge(
  some: readonly Asked[],
  method: JudgedMethod,
  objects: ReadonlyMap<Asked, ObjectPlace | null>,
  { model, metrics, target, hasObjects, signal, progress }: Judging,
  report: (judged: number) => void,
  pace: Pace,
): Promise<[Asked, Judgement[]][]> {
  if (some.length === 0) return [];
  const { judgements } = await model.evaluate(
    some.map(({ input }) => input),
    {
      methods: [method],
      metrics,
      targets: some.map(({ picture }) => [picture.target ?? target]),
      ...(hasObjects && { objects: some.map((asked) => objects.get(asked)!) }),
      signal,
      onProgress: ({ done }) => {
        report(done);
        progress(pace.line());
      },
    },
  );
  const targets = judgements.length / some.length;
  // Names are the paths as given: files of two folders may share one.
  return some.map((asked, at) => [
    asked,
    judgements.slice(at * targets, (at + 1) * targets).map((each) => ({ ...each, image: asked.image })),
  ]);
}
