/**
 * A worker of the benchmark's protocol that computes nothing. Its first argument says how it behaves:
 * `sound`, `dies` (on its second run), `dies-silently`, `nonsense`, `stranger` (another request's number), `package`,
 * `fails`, `sleeps`. Its runs take a quarter of a second times the second argument; its answers are 1 image of 4
 * ascending values times the third.
 */
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [, , behaviour, slowness = '1', factor = '1'] = process.argv;
/** A float32 .npy file, format 1.0. */
function npy(values, shape) {
  const header = Buffer.from(
    `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`.padEnd(117) + '\n',
  );
  return Buffer.concat([
    Buffer.from('\x93NUMPY\x01\x00', 'latin1'),
    Buffer.from([header.length, 0]),
    header,
    Buffer.from(Float32Array.from(values).buffer),
  ]);
}
let runs = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: what, path } = JSON.parse(line);
  const reply = (ok) => console.log(JSON.stringify({ id, ok }));
  if (what === 'load' && behaviour === 'package') {
    console.log(
      JSON.stringify({ id, error: { kind: 'package', package: 'captum', message: "No module named 'captum'" } }),
    );
  } else if (what === 'load' && behaviour === 'fails') {
    console.log(JSON.stringify({ id, error: { kind: 'failure', message: 'RuntimeError: no compiler.' } }));
  } else if (what === 'run') {
    runs++;
    if (behaviour === 'dies' && runs === 2) {
      console.error('first words\nMemoryError: no room');
      process.exit(3);
    }
    if (behaviour === 'dies-silently') process.exit(4);
    if (behaviour === 'sleeps') await new Promise((resolve) => setTimeout(resolve, 60_000));
    if (behaviour === 'nonsense') console.log('100%|#####| 128/128');
    else if (behaviour === 'stranger') console.log(JSON.stringify({ id: id + 1, ok: {} }));
    else reply({ seconds: 0.25 * Number(slowness), growth: 1000 * Number(slowness), idleCpu: 0, idleSeconds: 1 });
  } else if (what === 'answer') {
    writeFileSync(
      path,
      npy(
        [1, 2, 3, 4].map((value) => value * Number(factor)),
        [1, 4],
      ),
    );
    reply({});
  } else {
    reply({});
  }
}
