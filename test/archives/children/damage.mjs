// Damages archives by seed and loads each: damage.mjs KIND FIRST COUNT SCRATCH ARCHIVE...
//   bytes     whatever lies there, as disks and transfers do
//   contents  bytes of the code and pickles, with all checksums and sizes set right again, as only a forger does
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inflateRawSync } from 'node:zlib';

import { readDirectory } from '../../../dist/archives/directory.js';
import { WindowedFile } from '../../../dist/archives/windowed-file.js';
import { Model } from '../../../dist/index.js';
import { zip } from './zip.mjs';

/** Of the processor, not of a clock, which would count what else runs on the machine. */
const milliseconds = ({ user, system }) => (user + system) / 1000;

const [kind, first, count, scratch, ...archives] = process.argv.slice(2);

/** mulberry32 */
function generator(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

function damage(bytes, random) {
  const out = Buffer.from(bytes);
  switch (random(5)) {
    case 0:
      for (let i = 0; i < 1 + random(8); i++) out[random(out.length)] ^= 1 << random(8);
      return out;
    case 1:
      return out.subarray(0, random(out.length));
    case 2: {
      const length = 1 + random(Math.max(1, out.length >> 3));
      const [a, b] = [random(out.length - length), random(out.length - length)];
      const kept = Buffer.from(out.subarray(a, a + length));
      out.copyWithin(a, b, b + length);
      kept.copy(out, b);
      return out;
    }
    case 3: {
      const at = random(out.length);
      out.fill(random(256), at, Math.min(out.length, at + 1 + random(64)));
      return out;
    }
    default: {
      // A piece goes missing or comes twice; what follows moves.
      const at = random(out.length);
      const length = 1 + random(32);
      return random(2) === 0
        ? Buffer.concat([out.subarray(0, at), out.subarray(at + length)])
        : Buffer.concat([out.subarray(0, at + length), out.subarray(at)]);
    }
  }
}

async function damageContents(archive, random) {
  const handle = await open(archive);
  try {
    const bytes = await readFile(archive);
    const members = (await readDirectory(new WindowedFile(handle, bytes.length), bytes.length, archive)).map(
      ({ name, method, dataOffset, packedSize }) => {
        const packed = bytes.subarray(dataOffset, dataOffset + packedSize);
        return { name, data: method === 8 ? inflateRawSync(packed) : packed, deflate: method === 8 };
      },
    );
    const targets = members.filter(
      ({ name, data }) => data.length > 64 && /data\.pkl$|constants\.pkl$|code\/.*\.py$/.test(name),
    );
    const target = targets[random(targets.length)];
    target.data = damage(target.data, random);
    return zip(members);
  } finally {
    await handle.close();
  }
}

for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  const random = generator(seed);
  const archive = archives[random(archives.length)];
  const file = join(scratch, `${kind}-${seed}.pt`);
  await writeFile(
    file,
    kind === 'bytes' ? damage(await readFile(archive), random) : await damageContents(archive, random),
  );
  console.log(`@stage ${kind} ${archive} seed ${seed}`);
  const started = process.cpuUsage();
  let ending;
  try {
    const model = await Model.load(file, { device: 'cpu', threads: 1 });
    ending = { code: 'LOADED', message: '' };
    await model.close();
  } catch (error) {
    ending = { code: error.name === 'SightlineError' ? error.code : 'NONE', message: error.stack };
  }
  console.log(
    `@report ${JSON.stringify({ seed, archive, ...ending, milliseconds: milliseconds(process.cpuUsage(started)) })}`,
  );
}
