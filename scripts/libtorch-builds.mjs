/**
 * The LibTorch that is fetched when none is found, with the SHA-256 of its official archives. Every hash was checked
 * against at least two independent publications of it; a variant whose hash is not pinned needs `--sha256`.
 */

/** The version that continuous integration runs. */
export const VERSION = '2.13.0';

const OFFICIAL = 'https://download.pytorch.org/libtorch';

/**
 * @typedef {object} Build
 * @property {string} variant `cpu` or `cu<major><minor>`
 * @property {string} file path below the download root, or below a mirror of it
 * @property {string | null} sha256 of the archive; null where none is known
 * @property {number} archiveBytes what the download weighs, as far as known, else a safe guess
 * @property {number} unpackedBytes what lies on disk afterwards, a safe guess
 * @property {string[]} nvidia pip requirements: the NVIDIA libraries that neither archive nor wheel holds
 */

/** @type {Record<string, { sha256: string, archiveBytes: number }>} */
const PINNED = {
  cpu: { sha256: 'edbf4cbed78433d803e90a65f1752e57783d164bce66c95c0872b2ab8f5c159e', archiveBytes: 126_385_248 },
  cu130: { sha256: '945c5a3d946a28b387ad9dc9fddda7ba03e35fae1375b84ebff15df789436f82', archiveBytes: 500_687_821 },
};

/** What the wheel of 2.13.0 for CUDA 13.0 requires, without its Python bindings. @type {Record<string, string[]>} */
const NVIDIA = {
  cu130: [
    'cuda-toolkit[cublas,cudart,cufft,cufile,cupti,curand,cusolver,cusparse,nvjitlink,nvrtc,nvtx]==13.0.3',
    'nvidia-cudnn-cu13==9.20.0.48',
    'nvidia-cusparselt-cu13==0.8.1',
    'nvidia-nccl-cu13==2.29.7',
    'nvidia-nvshmem-cu13==3.4.5',
    // Headers that cuda_runtime.h includes; no library needs them, but CUDA graphs are compiled against them.
    'nvidia-cuda-crt==13.0.88',
  ],
};

/**
 * @param {string} variant
 * @returns {Build | null} null for a name that cannot be a variant
 */
export function findBuild(variant) {
  if (variant !== 'cpu' && !/^cu\d{3}$/.test(variant)) return null;
  const pinned = PINNED[variant];
  const cuda = variant !== 'cpu';
  return {
    variant,
    file: `${variant}/libtorch-shared-with-deps-${VERSION}%2B${variant}.zip`,
    sha256: pinned?.sha256 ?? null,
    archiveBytes: pinned?.archiveBytes ?? (cuda ? 3_000_000_000 : 200_000_000),
    unpackedBytes: cuda ? 1_100_000_000 : 520_000_000,
    nvidia: NVIDIA[variant] ?? [],
  };
}

/**
 * The address of an archive: on the official site, below a mirror of it, or the mirror itself where it names a .zip.
 * @param {Build} build
 * @param {string | undefined} mirror
 */
export function archiveUrl(build, mirror) {
  if (mirror === undefined) return `${OFFICIAL}/${build.file}`;
  return /\.zip$/i.test(mirror.replace(/[?#].*$/, '')) ? mirror : `${mirror.replace(/\/+$/, '')}/${build.file}`;
}
