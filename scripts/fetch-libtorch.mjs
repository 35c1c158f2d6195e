#!/usr/bin/env node
/**
 * Fetches LibTorch into the project's cache: the official archive (pinned address and SHA-256), or the same files out
 * of the pip wheel where only a Python index can be reached. Nothing lands in its final place before it was verified,
 * unpacked and looked at; the last act is one rename.
 *
 *   node scripts/fetch-libtorch.mjs [--variant cpu|cu130] [--mirror URL] [--from-file ZIP|WHL] [--sha256 HEX]
 */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { libtorchCache, makeCacheFolder } from '../lib/setup/cache-folder.mjs';
import { requireDiskSpace } from './disk-space.mjs';
import { download, hashFile, requireHash } from './download.mjs';
import { VERSION, archiveUrl, findBuild } from './libtorch-builds.mjs';
import { compareVersions, currentPlatform, inspectLibTorch, requirePlatform } from '../lib/setup/libtorch.mjs';
import { findNvidia } from './nvidia.mjs';
import { NoSuchWheel, downloadWheels, findPip } from './pip.mjs';
import { SetupError, isMain, runCommand } from '../lib/setup/setup-error.mjs';
import { unpack } from './unpack.mjs';

/** The oldest NVIDIA driver that runs CUDA 13, which the pinned CUDA build is for. */
const CUDA_13_DRIVER = '580';

/** Libraries of the archives and wheels that sightline never loads: Python's, and those of LibTorch's own tests. */
const NEEDLESS =
  /^(libtorch_python|libshm|libjitbackend_test|libtorchbind_test|libbackend_with_compiler|libaoti_custom_ops)/;

/**
 * @typedef {object} Job
 * @property {NodeJS.ProcessEnv} env
 * @property {import('../lib/setup/libtorch.mjs').Platform} platform
 * @property {string} staging scratch folder beside the final place, so that the rename stays on one disk
 * @property {import('./disk-space.mjs').Statfs | undefined} statfs
 * @property {(line: string) => void} say
 */

/**
 * @param {object} [options]
 * @param {string} [options.variant] default: SIGHTLINE_LIBTORCH_VARIANT, else cpu, or cu130 where a GPU and its driver
 * are present
 * @param {string} [options.mirror] download root that mirrors the official one, or the address of one .zip
 * @param {string} [options.fromFile] archive or wheel on this machine; nothing is downloaded
 * @param {string} [options.sha256] what the archive must have; default: the pinned one
 * @param {NodeJS.ProcessEnv} [options.env]
 * @param {import('./disk-space.mjs').Statfs} [options.statfs]
 * @param {(line: string) => void} [options.say]
 * @returns {Promise<string>} the root: the folder that holds lib/ and include/
 */
export async function fetchLibTorch({
  variant,
  mirror,
  fromFile,
  sha256,
  env = process.env,
  statfs,
  say = (line) => void process.stderr.write(`${line}\n`),
} = {}) {
  const platform = currentPlatform();
  requirePlatform(platform);
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new SetupError(`--sha256 is ${sha256}, which is not 64 hexadecimal digits.`);
  }
  if (mirror !== undefined && !URL.canParse(mirror)) {
    throw new SetupError(`--mirror is ${mirror}, which is not an address such as https://mirror.example/libtorch.`);
  }
  if (mirror !== undefined && fromFile !== undefined) {
    throw new SetupError('--mirror and --from-file exclude each other: give one of them.');
  }
  const wanted = variant ?? (env.SIGHTLINE_LIBTORCH_VARIANT || chooseVariant(env, say));
  const build = findBuild(wanted);
  if (build === null) {
    throw new SetupError(`The variant is ${wanted}, which must be cpu, or cu and three digits such as cu130.`);
  }

  const cache = libtorchCache(env);
  await makeCacheFolder(env);
  await mkdir(cache, { recursive: true });
  await sweep(cache);
  const staging = await mkdtemp(path.join(cache, '.staging-'));
  const clean = () => rmSync(staging, { recursive: true, force: true });
  const interrupted = () => process.exit(130); // runs the exit handler, which a bare SIGINT would not
  process.once('exit', clean).once('SIGINT', interrupted).once('SIGTERM', interrupted);
  /** @type {Job} */
  const job = { env, platform, staging, statfs, say };
  try {
    if (fromFile !== undefined) return await fromLocalFile(fromFile, build, sha256, job);
    // Whoever names a mirror or a hash means the archive: anything else in its place would be a surprise.
    if (mirror !== undefined || sha256 !== undefined) return await fromArchive(build, mirror, sha256, job);
    return await fromAnywhere(build, job);
  } finally {
    process.off('exit', clean).off('SIGINT', interrupted).off('SIGTERM', interrupted);
    clean();
  }
}

/**
 * @param {import('./libtorch-builds.mjs').Build} build
 * @param {Job} job
 */
async function fromAnywhere(build, job) {
  const cpu = /** @type {import('./libtorch-builds.mjs').Build} */ (findBuild('cpu'));
  const mirror = job.env.SIGHTLINE_LIBTORCH_MIRROR;
  const routes = [build, ...(build.variant === 'cpu' ? [] : [cpu])].flatMap((one) => [
    { name: `official archive, ${one.variant}`, go: () => fromArchive(one, mirror, undefined, job) },
    { name: `pip wheel, ${one.variant}`, go: () => fromWheel(one, job) },
  ]);
  for (const { name, go } of routes) {
    try {
      return await go();
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      job.say(`  LibTorch ${VERSION} (${name}): ${error.message}`);
      await emptyStaging(job.staging);
    }
  }
  throw new SetupError(
    `LibTorch ${VERSION} could not be fetched for the reasons above: give this machine a network, or set LIBTORCH to a LibTorch that is there, or run node scripts/fetch-libtorch.mjs --from-file with an archive from another machine.`,
  );
}

/**
 * @param {import('./libtorch-builds.mjs').Build} build
 * @param {string | undefined} mirror
 * @param {string | undefined} sha256
 * @param {Job} job
 */
async function fromArchive(build, mirror, sha256, job) {
  if (job.platform.arch !== 'x64' && mirror === undefined) {
    throw new SetupError(`There is no official LibTorch archive for Linux ${job.platform.arch}: use the pip wheel.`);
  }
  const expected = sha256 ?? build.sha256;
  if (expected === null) {
    throw new SetupError(
      `No SHA-256 is known for LibTorch ${VERSION} ${build.variant}, and without one nothing is downloaded: pass --sha256 with the archive's, or choose --variant cpu or cu130.`,
    );
  }
  const url = archiveUrl(build, mirror);
  const archive = path.join(job.staging, 'archive.zip');
  job.say(`  LibTorch ${VERSION} ${build.variant} from ${url}`);
  await download({
    url,
    target: `${archive}.part`,
    sha256: expected,
    label: `LibTorch ${VERSION} ${build.variant}`,
    env: job.env,
    beforeBody: (announced) =>
      requireDiskSpace(job.staging, (announced ?? build.archiveBytes) + build.unpackedBytes, job.statfs),
  });
  await rename(`${archive}.part`, archive);
  return install(archive, placeOfArchive, job);
}

/**
 * @param {string} file
 * @param {import('./libtorch-builds.mjs').Build} build
 * @param {string | undefined} sha256
 * @param {Job} job
 */
async function fromLocalFile(file, build, sha256, job) {
  const archive = path.resolve(file);
  if (!existsSync(archive) || !(await stat(archive)).isFile()) {
    throw new SetupError(`--from-file is ${file}, and there is no such file.`);
  }
  const isOfficial = path.basename(archive).replace('+', '%2B') === path.basename(build.file);
  const expected = sha256 ?? (isOfficial ? build.sha256 : null);
  if (expected !== null) requireHash(archive, await hashFile(archive), expected);
  else job.say(`  ${archive} is taken as it is; pass --sha256 to have it verified`);
  return install(archive, archive.endsWith('.whl') ? placeOfWheel : placeOfArchive, job);
}

/**
 * @param {import('./libtorch-builds.mjs').Build} build
 * @param {Job} job
 */
async function fromWheel(build, job) {
  const python = findPip(job.env);
  await requireDiskSpace(
    job.staging,
    build.unpackedBytes + 700_000_000 + (build.nvidia.length > 0 ? 7_000_000_000 : 0),
    job.statfs,
  );
  job.say(`  LibTorch ${VERSION} ${build.variant} from the wheel of torch ${VERSION}, through ${python} -m pip`);
  // An index of the project has local versions (+cpu); the public one has a single build without that suffix.
  const requirements = [`torch==${VERSION}+${build.variant}`, `torch==${VERSION}`];
  const wheel = await downloadTorchWheel({
    python,
    requirements,
    arch: job.platform.arch,
    into: path.join(job.staging, 'wheel'),
    env: job.env,
  });
  return install(wheel, placeOfWheel, job, build.variant);
}

/**
 * The wheel, for whatever Python the index has one: LibTorch is the same in all of them.
 * @param {object} request
 * @param {string} request.python
 * @param {string[]} request.requirements the first that can be had is taken
 * @param {string} request.arch
 * @param {string} request.into folder; created
 * @param {NodeJS.ProcessEnv} request.env
 * @returns {Promise<string>}
 */
export async function downloadTorchWheel({ python, requirements, arch, into, env }) {
  const machine = arch === 'x64' ? 'x86_64' : 'aarch64';
  const foreign = ['312', '311', '313', '310', '314'].map((version) => [
    '--python-version',
    version,
    '--implementation',
    'cp',
    '--abi',
    `cp${version}`,
    '--platform',
    `manylinux_2_28_${machine}`,
  ]);
  /** @type {unknown} */
  let refusal;
  for (const options of [[], ...foreign]) {
    for (const requirement of requirements) {
      try {
        const [wheel] = await downloadWheels({
          python,
          requirements: [requirement],
          options: ['--no-deps', '--retries', '2', ...options],
          into,
          label: requirement.replace('==', ' ').replace(/\+.*/, ''),
          env,
        });
        if (wheel !== undefined) return wheel;
      } catch (error) {
        if (!(error instanceof NoSuchWheel)) throw error;
        refusal ??= error;
      }
    }
  }
  throw refusal;
}

/**
 * Unpacks, adds NVIDIA's libraries to a CUDA build, looks at the result and moves it to its final place.
 * @param {string} archive
 * @param {(name: string) => string | null} place
 * @param {Job} job
 * @param {string} [wanted] refuse another variant than this; a CUDA build will do for cpu, as it runs there too
 */
async function install(archive, place, job, wanted = 'cpu') {
  const folder = path.join(job.staging, 'unpacked');
  const root = path.join(folder, 'torch');
  const members = await unpack({
    archive,
    into: root,
    label: 'unpacking LibTorch',
    place,
    beforeWrite: (bytes) => requireDiskSpace(job.staging, bytes, job.statfs),
  });
  const seen =
    members === 0
      ? { problem: 'it holds no LibTorch', version: null, cuda: null }
      : inspectLibTorch(root, job.platform);
  if (seen.problem !== null) {
    throw new SetupError(
      `${path.basename(archive)} is not usable: ${seen.problem}; fetch LibTorch ${VERSION} for Linux ${job.platform.arch}.`,
    );
  }
  const variant = seen.cuda === null ? 'cpu' : `cu${seen.cuda.replace('.', '')}`;
  if (wanted !== 'cpu' && wanted !== variant) {
    throw new SetupError(
      `${path.basename(archive)} is a build for ${variant} and not for ${wanted}: point PIP_INDEX_URL at an index that has that build, or choose another --variant.`,
    );
  }
  if (seen.cuda !== null && missingLibraries(root, job.env).length > 0) {
    await addNvidiaLibraries(variant, folder, root, job);
  }

  const target = path.join(libtorchCache(job.env), `${seen.version.replace(/\+.*/, '')}-${variant}`);
  const whole = seen.cuda === null ? root : folder;
  const final = seen.cuda === null ? target : path.join(target, 'torch');
  try {
    await rename(whole, target);
  } catch (error) {
    const code = /** @type {NodeJS.ErrnoException} */ (error).code;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    // Another process was first, or a damaged one lies there: keep what can be used.
    if (inspectLibTorch(final, job.platform).problem !== null) {
      await rm(target, { recursive: true, force: true });
      await rename(whole, target);
    }
  }
  job.say(`  LibTorch ${seen.version} is in ${final}`);
  return final;
}

/**
 * @param {string} variant
 * @param {string} folder
 * @param {string} root
 * @param {Job} job
 */
async function addNvidiaLibraries(variant, folder, root, job) {
  const requirements = findBuild(variant)?.nvidia ?? [];
  const missing = missingLibraries(root, job.env);
  if (requirements.length === 0) {
    throw new SetupError(
      `LibTorch for ${variant} needs ${missing.slice(0, 3).join(', ')} of NVIDIA, which are not on this machine: install CUDA and cuDNN for it, or choose --variant cpu or cu130.`,
    );
  }
  job.say(`  NVIDIA's libraries for ${variant}, through pip`);
  const wheels = await downloadWheels({
    python: findPip(job.env),
    requirements,
    options: ['--retries', '2'],
    into: path.join(job.staging, 'nvidia-wheels'),
    label: `NVIDIA libraries for ${variant}`,
    env: job.env,
  });
  for (const wheel of wheels) {
    await unpack({
      archive: wheel,
      into: path.join(folder, 'nvidia'),
      label: path.basename(wheel).split('-')[0] ?? '',
      place: placeOfNvidia,
    });
    await rm(wheel);
  }
  const still = missingLibraries(root, job.env);
  if (still.length > 0) {
    throw new SetupError(
      `LibTorch for ${variant} still lacks ${still.join(', ')}: install the package of NVIDIA that holds it, or choose --variant cpu.`,
    );
  }
}

/**
 * Shared libraries that the loader cannot find for a LibTorch. libcuda.so.1 belongs to the driver, which the machine
 * that runs the models has and the one that fetches need not.
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 */
export function missingLibraries(root, env) {
  const missing = new Set();
  for (const name of ['libtorch_cpu.so', 'libtorch_cuda.so', 'libtorch_cuda_linalg.so']) {
    const file = path.join(root, 'lib', name);
    if (!existsSync(file)) continue;
    const answer = spawnSync('ldd', [file], { env, encoding: 'utf8' });
    for (const [, library] of (answer.stdout ?? '').matchAll(/^\s*(\S+) => not found/gm)) {
      if (library !== 'libcuda.so.1') missing.add(library);
    }
  }
  return [...missing];
}

/** @param {string} name @returns {string | null} */
function placeOfArchive(name) {
  const inside = /^libtorch\/(.+)$/.exec(name)?.[1];
  if (inside === undefined) return null;
  if (inside.startsWith('lib/')) return isNeeded(inside) ? inside : null;
  return inside.startsWith('include/') || /^(build-version|build-hash|LICENSE|NOTICE)[^/]*$/.test(inside)
    ? inside
    : null;
}

/** @param {string} name @returns {string | null} */
export function placeOfWheel(name) {
  const licence = /^torch-[^/]+\.dist-info\/(?:licenses\/)?((?:LICENSE|NOTICE)[^/]*)$/.exec(name)?.[1];
  if (licence !== undefined) return licence;
  const inside = /^torch\/(.+)$/.exec(name)?.[1];
  if (inside === undefined) return null;
  if (inside.startsWith('lib/')) return isNeeded(inside) ? inside : null;
  return inside.startsWith('include/') || inside === 'version.py' ? inside : null;
}

/** @param {string} name @returns {string | null} */
function placeOfNvidia(name) {
  const licence = /^([^/]+)\.dist-info\/(?:licenses\/)?(licen[sc]e[^/]*)$/i.exec(name);
  if (licence !== null) return `licences/${licence[1]}/${licence[2]}`;
  // Headers too: CUDA graphs are compiled against them where there is no toolkit.
  return /^nvidia\/(.+\.so(\.\d+)*|[^/]+\/include\/.+)$/.test(name) ? name.slice('nvidia/'.length) : null;
}

/** @param {string} inside */
function isNeeded(inside) {
  return /^lib\/[^/]+\.so(\.\d+)*$/.test(inside) && !NEEDLESS.test(inside.slice('lib/'.length));
}

/** @param {NodeJS.ProcessEnv} env @param {(line: string) => void} say */
function chooseVariant(env, say) {
  const { driver, gpus } = findNvidia(env);
  if (gpus.length === 0) return 'cpu';
  if (driver !== null && compareVersions(driver, CUDA_13_DRIVER) >= 0) return 'cu130';
  say(
    `  The NVIDIA driver ${driver ?? '(unknown)'} is older than ${CUDA_13_DRIVER}, which CUDA 13 needs, so LibTorch for the CPU is taken`,
  );
  return 'cpu';
}

/** @param {string} staging */
async function emptyStaging(staging) {
  for (const name of await readdir(staging)) await rm(path.join(staging, name), { recursive: true, force: true });
}

/** Removes what a killed run of more than a day ago left. @param {string} cache */
async function sweep(cache) {
  for (const name of await readdir(cache)) {
    if (!name.startsWith('.staging-')) continue;
    const info = await stat(path.join(cache, name)).catch(() => null);
    if (info !== null && Date.now() - info.mtimeMs > 86_400_000) {
      await rm(path.join(cache, name), { recursive: true, force: true });
    }
  }
}

const HELP = `Fetches LibTorch ${VERSION} into the cache of sightline and prints its folder.

  node scripts/fetch-libtorch.mjs [options]

  --variant NAME    cpu or a CUDA build such as cu130 (default: cu130 where a GPU and a new enough driver are, else cpu)
  --mirror URL      a mirror of the official download root, or the address of one archive (.zip)
  --from-file FILE  an archive (.zip) or a wheel (.whl) that is already here
  --sha256 HEX      what the archive must have (needed where none is pinned)

SIGHTLINE_CACHE is where it goes. In the automatic set-up SIGHTLINE_LIBTORCH_VARIANT and SIGHTLINE_LIBTORCH_MIRROR stand
for the options of those names. HTTPS_PROXY and NO_PROXY are honoured.`;

/** @param {string[]} args */
async function main(args) {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        variant: { type: 'string' },
        mirror: { type: 'string' },
        'from-file': { type: 'string' },
        sha256: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    throw new SetupError(
      `${/** @type {Error} */ (error).message.split('\n')[0]?.replace(/\.$/, '')}: --help lists what there is.`,
    );
  }
  if (values.help) {
    console.log(HELP);
    return;
  }
  const options = Object.fromEntries(
    Object.entries({
      variant: values.variant,
      mirror: values.mirror,
      fromFile: values['from-file'],
      sha256: values.sha256,
    }).filter(([, value]) => value !== undefined),
  );
  console.log(await fetchLibTorch(options));
}

if (isMain(import.meta.url)) await runCommand(() => main(process.argv.slice(2)));
