import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from '../lib/setup/setup-error.mjs';
import { PACKAGE_ROOT } from '../lib/setup/stamps.mjs';

/** In the root of an archive that `npm run pack:gpu` made, which brings the packages that it needs, and no others. */
export const CARRIED = 'carried.json';

/**
 * Whether what is installed is what the lock file asks for, by npm's own record of it: that also sees an `npm install`
 * run by hand. Optional packages may be absent, as those of other platforms are.
 */
export function arePackagesInstalled(root = PACKAGE_ROOT) {
  if (existsSync(path.join(root, CARRIED))) return true;
  const record = path.join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  const wanted = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(
    ([name, { version, optional }]) =>
      name === '' || (installed[name] === undefined ? optional === true : installed[name].version === version),
  );
}

/** The npm that runs this, else the one on the PATH. @param {NodeJS.ProcessEnv} env @returns {[string, ...string[]]} */
export function npmCommand(env) {
  return env.npm_execpath?.endsWith('npm-cli.js') ? [process.execPath, env.npm_execpath] : ['npm'];
}

/** @param {NodeJS.ProcessEnv} env */
export async function installPackages(env = process.env) {
  const [program, ...before] = npmCommand(env);
  let output = '';
  const code = await new Promise((resolve) => {
    const child = spawn(program, [...before, 'ci', '--no-audit', '--no-fund'], {
      cwd: PACKAGE_ROOT,
      env,
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    child.stderr.on('data', (text) => {
      output += text;
      process.stderr.write(text);
    });
    child.on('error', (error) => resolve(error));
    child.on('close', resolve);
  });
  if (code === 0) return;
  if (code instanceof Error) {
    throw new SetupError('npm is not on the PATH: install it with Node, then run this again.', { cause: code });
  }
  throw new SetupError(
    /E(NOTFOUND|AI_AGAIN|CONNREFUSED|TIMEDOUT|NETUNREACH|CONNRESET)|network/i.test(output)
      ? 'npm cannot reach its registry: check the network, or set HTTPS_PROXY or the registry in .npmrc.'
      : /ENOSPC/.test(output)
        ? `The disk is full while npm installs packages: free some space below ${PACKAGE_ROOT}.`
        : 'npm ci failed for the reason above: repair that and run this again.',
  );
}
