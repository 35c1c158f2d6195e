#!/usr/bin/env node
/**
 * The npm install script of the package. It never touches the network and never fails an installation: it builds the
 * addon where a LibTorch is already on the machine, and else names the command that fetches one.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { loadProblem } from './build-native.mjs';
import { setUpNative } from './setup.mjs';
import { SetupError } from './setup-error.mjs';
import { PACKAGE_ROOT } from './stamps.mjs';
import { requireNode } from './tools.mjs';

const LATER = 'the native part of sightline is not built yet; run npx sightline setup';

// In a checkout, run.mjs builds when a task needs it; doing it here too would build twice.
const isCheckout = existsSync(path.join(PACKAGE_ROOT, '.git'));
if (!isCheckout && loadProblem() !== null) {
  try {
    requireNode();
    await setUpNative({ fetch: false });
  } catch (error) {
    console.error(error instanceof SetupError ? `sightline: ${error.message}` : error);
    console.error(`sightline: ${LATER}`);
  }
}
