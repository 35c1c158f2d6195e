import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * A failure of the set-up that its reader can repair. The message is one sentence that says what was wrong and how to
 * repair it. It is printed alone, without a stack.
 */
export class SetupError extends Error {
  /** @param {string} message @param {{ cause?: unknown }} [options] */
  constructor(message, options) {
    super(message, options);
    this.name = 'SetupError';
  }
}

/**
 * Runs a command's main function; a `SetupError` becomes its one line and exit code 1, anything else keeps its stack.
 * @param {() => Promise<number | void>} main
 */
export async function runCommand(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    console.error(error instanceof SetupError ? `sightline: ${error.message}` : error);
    process.exitCode = 1;
  }
}

/**
 * Whether a module is the program that Node was started with, and not one that another imports.
 * @param {string} url its import.meta.url
 */
export function isMain(url) {
  const program = process.argv[1];
  return program !== undefined && realpathSync(program) === fileURLToPath(url);
}
