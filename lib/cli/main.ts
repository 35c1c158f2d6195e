#!/usr/bin/env node
import { readFileSync } from 'node:fs';

import { Command, CommanderError } from 'commander';

import { attentionCommand } from './attention.js';
import { benchCommand } from './bench.js';
import { captureCommand } from './capture.js';
import { compareCommand } from './compare.js';
import { doctorCommand } from './doctor.js';
import { evaluateCommand } from './evaluate.js';
import { explainCommand } from './explain.js';
import { failureOf } from './failure.js';
import { inspectCommand } from './inspect.js';
import { maximizeCommand } from './maximize.js';
import { modelsCommand } from './models.js';
import { pullCommand } from './pull.js';
import { sanityCommand } from './sanity.js';
import { searchCommand } from './search.js';
import { serveCommand } from './serve.js';
import { createSession, type Session } from './session.js';
import { setupCommand } from './setup.js';

const COMMANDS = {
  explain: explainCommand,
  compare: compareCommand,
  inspect: inspectCommand,
  capture: captureCommand,
  attention: attentionCommand,
  maximize: maximizeCommand,
  evaluate: evaluateCommand,
  search: searchCommand,
  sanity: sanityCommand,
  serve: serveCommand,
  bench: benchCommand,
  doctor: doctorCommand,
  models: modelsCommand,
  pull: pullCommand,
  setup: setupCommand,
} as const;

function createProgram(session: Session): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  const program = new Command('sightline')
    .description('Explain what vision models see.')
    .version(version)
    .showSuggestionAfterError()
    .addHelpText(
      'after',
      `
Examples:
  $ sightline explain dog.jpg
  $ sightline explain dog.jpg --model resnet50.pt --method grad-cam --out out
  $ sightline compare dog.jpg --model resnet50.pt --model vit.pt --out compared.png
  $ sightline inspect vit.pt

Exit codes: 0 done, 2 the request is wrong, 1 anything else.`,
    );
  for (const create of Object.values(COMMANDS)) program.addCommand(create(session));
  for (const command of [program, ...program.commands]) {
    // Errors are thrown instead of printed: `main` prints each as one line.
    command.exitOverride().configureOutput({ writeErr: () => undefined });
  }
  return program;
}

async function main(args: readonly string[]): Promise<void> {
  const interrupt = new AbortController();
  // Once: a second Ctrl-C ends the process as it would any other.
  process.once('SIGINT', () => interrupt.abort());
  const session = createSession(args.includes('--json'), interrupt.signal);
  try {
    const program = createProgram(session);
    if (args.every((arg) => arg === '--json')) {
      throw new CommanderError(2, 'sightline.noCommand', `Name a command: ${Object.keys(COMMANDS).join(', ')}.`);
    }
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    // --help and --version end by an error too.
    if (error instanceof CommanderError && error.exitCode === 0) return;
    const failure = failureOf(error);
    const { code, exitCode } = failure;
    const message = error instanceof CommanderError ? `${failure.message} See ${helpFor(args)}.` : failure.message;
    session.fail(message);
    if (process.env['SIGHTLINE_DEBUG'] === '1') console.error(error);
    session.answer({ error: { code, message } });
    process.exitCode = exitCode;
  }
}

/** The command whose usage is shown. */
function helpFor([name]: readonly string[]): string {
  return name !== undefined && Object.hasOwn(COMMANDS, name) ? `sightline ${name} --help` : 'sightline --help';
}

// A reader that has seen enough, such as `head`, closes the pipe.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
}
void main(process.argv.slice(2));
