/**
 * What is compared: our call, the peers' call, on which network, and how far their answers must agree.
 *
 * @typedef {'resnet50' | 'vit_b_16' | 'timm_vit_b_16'} Network
 * @typedef {{ forward: true }
 *   | { method: string, options?: Record<string, unknown>, targets?: number }
 *   | { files: string, method: string }
 *   | { tensors: string, method: string }} OurCall the plain forward pass; an explanation, `targets` classes for each
 *   image
 *   (default 1); 64 files of the named bundled model to overlay files at once; 64 ready tensors at once
 * @typedef {{ name: string, options?: Record<string, unknown>, answer?: Record<string, unknown>, agrees:
 * import('./statistics.mjs').Agreement }} Peer
 *   `answer`: options that our call gets, on top of its own, where answers are compared and not timed
 * @typedef {object} Job
 * @property {string} name
 * @property {Network | null} network
 * @property {'batch' | number} images per call
 * @property {OurCall} ours
 * @property {OurCall | null} base what ours is a multiple of, by default the plain forward pass on the same images
 * @property {readonly Peer[]} peers
 * @property {boolean} [isLong] minutes for each run: two rounds at most, and a forward pass as the warm-up
 * @property {boolean} [isolated] each contestant in a process of its own, for the memory that it adds
 */

/** Same algorithm, same place, float32 on both sides; after each map was brought to [0, 1]. */
const SAME = { difference: 2e-3 };
/** Thousands of sums of float32 in another order. */
const NEARLY = { rank: 0.98 };
const FORWARD = /** @type {const} */ ({ forward: true });

/**
 * @param {string} name
 * @param {Network} network
 * @param {readonly string[]} exact
 * @param {readonly string[]} reduced
 * @returns {Job}
 */
const forward = (name, network, exact, reduced) => ({
  name,
  network,
  images: 'batch',
  ours: FORWARD,
  base: null,
  peers: [
    ...exact.map((peer) => ({ name: peer, agrees: SAME })),
    ...reduced.map((peer) => ({ name: peer, agrees: { rank: 0.95 } })),
  ],
});

/** @param {Omit<Job, 'base' | 'images'> & Partial<Job>} job @returns {Job} */
const job = (job) => ({ base: FORWARD, images: 'batch', ...job });

/** pytorch-grad-cam brings its maps to the images' size; ours are timed at the grid's and compared at the images'. */
const AT_IMAGE_SIZE = { size: 'image' };
const VIT_EXPLAIN = { preset: 'vit-explain', compat: 'vit-explain' };

/** @type {readonly Job[]} */
export const JOBS = [
  forward('resnet50-forward', 'resnet50', ['eager', 'eager-channels-last', 'compile'], ['eager-bf16-channels-last']),
  forward('vit-forward', 'vit_b_16', ['eager', 'compile'], ['eager-bf16']),
  forward('timm-vit-forward', 'timm_vit_b_16', ['eager', 'compile'], ['eager-bf16']),

  job({
    name: 'resnet50-cam',
    network: 'resnet50',
    ours: { method: 'cam' },
    peers: [{ name: 'torch-cam/cam', agrees: SAME }],
  }),
  job({
    name: 'resnet50-grad-cam',
    network: 'resnet50',
    ours: { method: 'grad-cam' },
    peers: [
      { name: 'pytorch-grad-cam/grad-cam', answer: AT_IMAGE_SIZE, agrees: SAME },
      { name: 'torch-cam/grad-cam', agrees: SAME },
    ],
  }),
  job({
    name: 'resnet50-hirescam',
    network: 'resnet50',
    ours: { method: 'hires-cam' },
    peers: [{ name: 'pytorch-grad-cam/hirescam', answer: AT_IMAGE_SIZE, agrees: SAME }],
  }),
  job({
    name: 'resnet50-eigen-cam',
    network: 'resnet50',
    ours: { method: 'eigen-cam' },
    peers: [{ name: 'pytorch-grad-cam/eigen-cam', agrees: SAME }],
  }),

  job({
    name: 'vit-grad-cam',
    network: 'timm_vit_b_16',
    ours: { method: 'grad-cam' },
    peers: [{ name: 'pytorch-grad-cam/grad-cam', answer: AT_IMAGE_SIZE, agrees: SAME }],
  }),
  job({
    name: 'vit-rollout',
    network: 'timm_vit_b_16',
    ours: { method: 'attention-rollout' },
    peers: [{ name: 'vit-explain/rollout', options: { head_fusion: 'mean', discard_ratio: 0 }, agrees: SAME }],
  }),
  job({
    name: 'vit-rollout-max-discard',
    network: 'timm_vit_b_16',
    ours: { method: 'attention-rollout', options: { preset: 'vit-explain' } },
    // vit-explain divides columns by sums of rows; ours does so too where the answers are compared.
    peers: [
      {
        name: 'vit-explain/rollout',
        options: { head_fusion: 'max', discard_ratio: 0.9 },
        answer: VIT_EXPLAIN,
        agrees: NEARLY,
      },
    ],
  }),
  job({
    name: 'vit-gradient-rollout',
    network: 'timm_vit_b_16',
    ours: { method: 'gradient-rollout' },
    peers: [
      {
        name: 'vit-explain/gradient-rollout',
        options: { discard_ratio: 0 },
        answer: { ...VIT_EXPLAIN, discardRatio: 0 },
        agrees: NEARLY,
      },
    ],
  }),
  job({
    name: 'vit-gradient-rollout-discard',
    network: 'timm_vit_b_16',
    ours: { method: 'gradient-rollout', options: { preset: 'vit-explain' } },
    peers: [
      { name: 'vit-explain/gradient-rollout', options: { discard_ratio: 0.9 }, answer: VIT_EXPLAIN, agrees: NEARLY },
    ],
  }),
  job({
    name: 'vit-gae',
    network: 'timm_vit_b_16',
    ours: { method: 'gae' },
    peers: [{ name: 'chefer/gae', agrees: SAME }],
  }),
  job({ name: 'gae-10-targets', network: 'timm_vit_b_16', images: 1, ours: { method: 'gae', targets: 10 }, peers: [] }),

  job({
    name: 'resnet50-score-cam',
    network: 'resnet50',
    images: 1,
    ours: { method: 'score-cam', options: AT_IMAGE_SIZE },
    base: null,
    isLong: true,
    isolated: true,
    peers: [
      { name: 'torch-cam/score-cam', agrees: { told: 'torch-cam scales its masks before it upsamples them' } },
      { name: 'pytorch-grad-cam/score-cam', agrees: { told: 'pytorch-grad-cam aligns its masks at the corners' } },
    ],
  }),
  .../** @type {const} */ (['resnet50', 'timm_vit_b_16']).map((network) =>
    job({
      name: `${network === 'resnet50' ? network : 'vit'}-integrated-gradients`,
      network,
      images: 1,
      ours: { method: 'integrated-gradients', options: { steps: 50 } },
      base: null,
      isLong: true,
      peers: [{ name: 'captum/integrated-gradients', options: { steps: 50, internal_batch_size: 8 }, agrees: NEARLY }],
    }),
  ),
  job({
    name: 'files-to-overlays',
    network: null,
    images: 64,
    ours: { files: 'vit-tiny-shapes', method: 'attention-rollout' },
    base: { tensors: 'vit-tiny-shapes', method: 'attention-rollout' },
    peers: [],
  }),
];

/**
 * The jobs of these names, in the list's order.
 *
 * @param {readonly string[] | null} names null for all @returns {Job[]}
 * @throws Error that names them all
 */
export function chooseJobs(names) {
  if (names === null) return [...JOBS];
  const unknown = names.find((name) => !JOBS.some((job) => job.name === name));
  if (unknown !== undefined) {
    throw new Error(`There is no job "${unknown}"; there are ${JOBS.map(({ name }) => name).join(', ')}.`);
  }
  return JOBS.filter(({ name }) => names.includes(name));
}
