// `npm run lint:alone [-- FILE...]`: the compiler reads each C++ source by itself, and writes nothing. The build
// compiles sources of one subject as one unit, where an include of one source serves the next; here a missing one
// shows. Takes about ten seconds a file, so `npm run lint` leaves it out.
import path from 'node:path';
import { compileCommands, onEachSource } from './compile-commands.mjs';
import { ROOT } from './python.mjs';

const commands = compileCommands(path.join(ROOT, 'build/alone'));
// The command is CMake's, in a shell's spelling: without the object file that it would write.
await onEachSource(commands, process.argv.slice(2), ({ command }) => [
  '/bin/sh',
  ['-c', `exec ${command.replace(/ -o \S+(?= )/, '')} -fsyntax-only`],
]);
