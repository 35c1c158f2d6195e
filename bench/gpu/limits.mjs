/** What is aimed at on a GPU in bf16 at batch 64, and whether it was reached. */

/** Shares of the plain forward pass's images per second. */
const SHARES = [
  { network: 'vit_base_patch16_224', job: 'attention-rollout', least: 0.85 },
  { network: 'resnet50', job: 'cam', least: 0.95 },
  { network: 'vit_base_patch16_224', job: 'gae', least: 0.4 },
];
const NETWORKS = ['resnet50', 'vit_base_patch16_224'];
const COMPILE = 'torch.compile, max-autotune';
const COMPILE_MARGIN = 1.15;
const GRAPHS = 1.3;
const PEERS = 8;

/** @typedef {{ what: string, limit: string, found: string, verdict: 'PASS' | 'FAIL' | 'not measured' }} Verdict */
/** @typedef {import('../../dist/bench/index.js').BenchReport} Report */
/**
 * @typedef {object} Python
 * @property {{ network: string, how: string, imagesPerSecond: number }[]} rows
 * @property {{ network: string, how: string, why: string }[]} missing
 */

/**
 * @param {{ report: Report, withoutGraphs: Report, python: Python, batch: number }} measured
 * @returns {Verdict[]}
 */
export function judge({ report, withoutGraphs, python, batch }) {
  /** @param {Report} of @param {string} network @param {string} job @param {number} size */
  const rowOf = (of, network, job, size) =>
    of.throughput.find((row) => row.model.startsWith(network) && row.job === job && row.batch === size);
  // The faster of several ways.
  /** @param {string} network @param {string} how */
  const speedOf = (network, how) => {
    const rows = python.rows.filter((row) => row.network === network && row.how.startsWith(how));
    return rows.length === 0 ? undefined : Math.max(...rows.map((row) => row.imagesPerSecond));
  };
  /** @param {number | undefined} value @param {number | undefined} by */
  const over = (value, by) => (value === undefined || by === undefined ? undefined : value / by);
  /** @param {string} what @param {number | undefined} value @param {number} least @returns {Verdict} */
  const atLeast = (what, value, least) => ({
    what,
    limit: `at least ${least.toFixed(2)}`,
    found: value === undefined ? 'no figure' : value.toFixed(2),
    verdict: value === undefined ? 'not measured' : value >= least ? 'PASS' : 'FAIL',
  });
  /** @type {Verdict[]} */
  const verdicts = [];
  for (const { network, job, least } of SHARES) {
    const row = rowOf(report, network, job, batch);
    const share = over(1, row?.ratio.median);
    verdicts.push(atLeast(`${job} of ${network}, share of the plain forward pass, batch ${batch}`, share, least));
  }
  for (const network of NETWORKS) {
    const forward = rowOf(report, network, 'forward', batch)?.imagesPerSecond.median;
    verdicts.push(
      atLeast(`${network} forward over PyTorch eager`, over(forward, speedOf(network, 'eager')), 1),
      atLeast(`${network} forward over ${COMPILE}`, over(forward, speedOf(network, COMPILE)), 1 / COMPILE_MARGIN),
    );
  }
  for (const network of NETWORKS) {
    const [plain, replayed] = [withoutGraphs, report].map(
      (of) => rowOf(of, network, 'forward', 1)?.milliseconds.median,
    );
    verdicts.push(atLeast(`CUDA graphs at batch 1, ${network} forward`, over(plain, replayed), GRAPHS));
  }
  const ours = rowOf(report, 'resnet50', 'grad-cam', batch)?.imagesPerSecond.median;
  const peer = speedOf('resnet50', 'pytorch-grad-cam');
  verdicts.push(atLeast('grad-cam of resnet50 over pytorch-grad-cam', over(ours, peer), PEERS));
  return verdicts;
}
