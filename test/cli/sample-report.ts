import type { JudgedPicture } from '../../lib/cli/evaluation/judging.js';
import { examplesOf } from '../../lib/cli/evaluation/report-examples.js';
import type { Report } from '../../lib/cli/evaluation/report.js';
import { Evaluation, type Judgement } from '../../lib/index.js';

/** A name as someone might choose it who means ill. */
export const HOSTILE = `</title></style><img src=x onerror=alert(1)>"'&amp;\u202e\u0000$&`;

export function judgement(
  image: string,
  method: string,
  figures: Judgement['figures'],
  curves: Judgement['curves'] = {},
): Judgement {
  return { image, method, target: { index: 1, label: HOSTILE, score: 1 }, state: 'ok', figures, curves };
}

/** Pictures p0, p1, ... of one class each, with a figure of each method by deletion. */
export function judgedPictures(
  figures: readonly (readonly number[])[],
  nameOf = (at: number): string => `p${at}`,
): JudgedPicture[] {
  return figures.map((ofMethods, at) => ({
    picture: { image: nameOf(at), target: null, object: null },
    image: nameOf(at),
    judgements: ofMethods.map((figure, method) => [
      judgement(
        nameOf(at),
        ['cam', HOSTILE, 'flat'][method]!,
        { deletion: figure },
        Number.isNaN(figure) ? {} : { deletion: { shares: Float32Array.of(0, 1), scores: Float32Array.of(1, figure) } },
      ),
    ]),
  }));
}

/** A small picture. */
const DOT = 'data:image/webp;base64,UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAUAmJaQAA3AA/v3AgAA=';

/** Two pictures, three methods, one of which has no figure; hostile names wherever a name may be. */
export function sampleReport(): Report {
  const pictures = judgedPictures(
    [
      [0.2, 0.8, NaN],
      [0.3, 0.7, NaN],
    ],
    (at) => `${HOSTILE}${at}.jpg`,
  );
  const methods = ['cam', HOSTILE, 'flat'];
  const evaluation = Object.assign(Object.create(Evaluation.prototype) as Evaluation, {
    methods,
    metrics: [{ label: 'deletion', better: 'lower' }],
    judgements: methods.flatMap((_, at) => pictures.flatMap((each) => each.judgements[at]!)),
  });
  const row = { metric: 'deletion', better: 'lower' as const, count: 2, without: 0 };
  return {
    model: HOSTILE,
    facts: [`Computed on ${HOSTILE}.`],
    command: `npx sightline evaluate ${HOSTILE}`,
    pictures: 2,
    evaluation,
    summary: [
      { ...row, method: 'cam', mean: 0.25, low: 0.2, high: 0.3, isBest: true, pValue: NaN },
      { ...row, method: HOSTILE, mean: 0.75, low: 0.7, high: 0.8, isBest: false, pValue: 0.01234 },
      { ...row, method: 'flat', mean: NaN, low: NaN, high: NaN, isBest: false, pValue: NaN, count: 0, without: 2 },
    ],
    costs: [
      { method: 'cam', seconds: 0.01, count: 2 },
      { method: HOSTILE, seconds: 1, count: 2 },
    ],
    examples: [examplesOf(pictures, 'deletion', 'lower')],
    overlayOf: () => DOT,
  };
}
