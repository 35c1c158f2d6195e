// `npm run lint:tidy [-- FILE...]`: clang-tidy on the C++ sources and their tests. Takes about ten seconds a file, so
// `npm run lint` leaves it out.
import path from 'node:path';
import { compileCommands, onEachSource } from './compile-commands.mjs';
import { pythonTools, ROOT } from './python.mjs';

const OUT = path.join(ROOT, 'build/tidy');
// native/portable declares what only g++ takes.
const commands = new Map([...compileCommands(OUT)].filter(([file]) => !file.startsWith('native/portable/')));
const program = path.join(pythonTools(), 'clang-tidy');
await onEachSource(commands, process.argv.slice(2), ({ file }) => [program, ['-p', OUT, '--quiet', file]]);
