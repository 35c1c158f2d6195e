/**
 * The table of limits that the project set itself, and the verdict on what was measured.
 *
 * @typedef {object} Check the quotient of two contestants of a job, its median over rounds
 * @property {string} job
 * @property {string} of
 * @property {string} to
 * @property {'time' | 'memory'} [quantity] default time
 * @property {number} [least]
 * @property {number} [most]
 *
 * Contestants: `base` (our plain forward pass on the same images), `ours`, `ours-bf16`, and the peers by name.
 */

const GRAD_CAM = 'pytorch-grad-cam/grad-cam';
const ROLLOUT = 'vit-explain/rollout';
const GRADIENT_ROLLOUT = 'vit-explain/gradient-rollout';
const GAE = 'chefer/gae';
const CAPTUM = 'captum/integrated-gradients';

/** @type {(job: string, most: number) => Check} */
const overForward = (job, most) => ({ job, of: 'ours', to: 'base', most });
/** @type {(job: string, peer: string, least: number) => Check} */
const slower = (job, of, least) => ({ job, of, to: 'ours', least });
/** @type {(job: string, peer: string, least: number) => Check} */
const slowerThanBf16 = (job, of, least) => ({ job, of, to: 'ours-bf16', least });

/** @type {readonly { title: string, checks: readonly Check[] }[]} */
export const LIMITS = [
  {
    title: 'CAM, Grad-CAM, HiResCAM, Eigen-CAM at layer4',
    checks: [
      ...['resnet50-cam', 'resnet50-grad-cam', 'resnet50-hirescam', 'resnet50-eigen-cam'].map((job) =>
        overForward(job, 1.05),
      ),
      slower('resnet50-grad-cam', GRAD_CAM, 4),
      slowerThanBf16('resnet50-grad-cam', GRAD_CAM, 7),
    ],
  },
  {
    title: 'plain forward, ResNet50',
    checks: [
      slower('resnet50-forward', 'eager-channels-last', 1),
      { job: 'resnet50-forward', of: 'ours', to: 'ours-bf16', least: 1.8 },
    ],
  },
  {
    title: 'plain forward, ViT-B/16',
    checks: ['vit-forward', 'timm-vit-forward'].flatMap((job) => [
      /** @type {Check} */ ({ job, of: 'ours', to: 'eager', most: 1.03 }),
      /** @type {Check} */ ({ job, of: 'ours', to: 'ours-bf16', least: 1.7 }),
    ]),
  },
  {
    title: 'attention rollout',
    checks: [
      overForward('vit-rollout', 1.1),
      slower('vit-rollout', ROLLOUT, 1.1),
      slowerThanBf16('vit-rollout', ROLLOUT, 2),
    ],
  },
  {
    title: 'Grad-CAM at the last block',
    checks: [overForward('vit-grad-cam', 1.12), slower('vit-grad-cam', GRAD_CAM, 3)],
  },
  {
    title: 'gradient rollout, GAE',
    checks: [
      overForward('vit-gradient-rollout', 2.15),
      overForward('vit-gae', 2.15),
      slower('vit-gradient-rollout', GRADIENT_ROLLOUT, 1.6),
      slower('vit-gae', GAE, 1.4),
      slowerThanBf16('vit-gradient-rollout', GRADIENT_ROLLOUT, 2.8),
      slowerThanBf16('vit-gae', GAE, 2.8),
    ],
  },
  { title: 'GAE for 10 targets of one image', checks: [overForward('gae-10-targets', 11.5)] },
  {
    title: 'Score-CAM, layer4, one image',
    checks: [
      slower('resnet50-score-cam', 'torch-cam/score-cam', 1.3),
      slower('resnet50-score-cam', 'pytorch-grad-cam/score-cam', 2),
      { job: 'resnet50-score-cam', of: 'ours', to: 'pytorch-grad-cam/score-cam', quantity: 'memory', most: 0.5 },
    ],
  },
  {
    title: 'integrated gradients, 50 steps',
    checks: [slower('resnet50-integrated-gradients', CAPTUM, 1.4), slower('vit-integrated-gradients', CAPTUM, 1.4)],
  },
  {
    title: 'file to overlay file, 64 concurrent',
    checks: [{ job: 'files-to-overlays', of: 'base', to: 'ours', least: 0.85 }],
  },
];

/** The jobs that the table needs. */
export const LIMITED_JOBS = [...new Set(LIMITS.flatMap(({ checks }) => checks.map(({ job }) => job)))];

/**
 * @typedef {Check & { title: string, value: number | null, verdict: 'pass' | 'FAIL' | 'not measured', reason: string |
 * null }} Verdict
 * @typedef {{ name: string, contestants: readonly import('./rounds.mjs').Measured[], ratioOf: (of: string, to: string,
 * quantity: 'time' | 'memory') => { median: number } | null }} MeasuredJob
 * @param {readonly MeasuredJob[]} jobs @returns {Verdict[]}
 */
export function judge(jobs) {
  return LIMITS.flatMap(({ title, checks }) =>
    checks.map((check) => {
      const job = jobs.find(({ name }) => name === check.job);
      const failed = job?.contestants.find(
        ({ name, failure }) => failure !== null && (name === check.of || name === check.to),
      );
      const value = failed ? null : (job?.ratioOf(check.of, check.to, check.quantity ?? 'time')?.median ?? null);
      if (value === null) {
        const lacking =
          job && !failed
            ? [check.of, check.to].find((name) => !job.contestants.some((found) => found.name === name))
            : undefined;
        const reason = !job
          ? `the job ${check.job} was not run`
          : (failed?.failure ?? (lacking ? `${lacking} was not asked for` : 'the memory cannot be measured here'));
        return { ...check, title, value, verdict: /** @type {const} */ ('not measured'), reason };
      }
      const holds =
        (check.least === undefined || value >= check.least) && (check.most === undefined || value <= check.most);
      return { ...check, title, value, verdict: /** @type {const} */ (holds ? 'pass' : 'FAIL'), reason: null };
    }),
  );
}
