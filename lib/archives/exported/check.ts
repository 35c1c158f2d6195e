import type { ExportedProgram } from '../../engine/exported-program.js';
import { SightlineError } from '../../support/errors.js';
import { readNestedCheckpoint } from '../checkpoint.js';
import { readMember, verifyStored } from '../contents.js';
import { readDirectory, type Member } from '../directory.js';
import { damaged, printable, untrusted } from '../refusal.js';
import { openRegular } from '../saved-form.js';
import { WindowedFile } from '../windowed-file.js';
import { Fields } from './fields.js';
import { readProgram, SCHEMA } from './program.js';
import type { ImageSizes } from './sizes.js';
import { logicalBytesOf, readTensors, type StoredTensor } from './tensors.js';

/** How PyTorch 2.6 and 2.7 name the members, which lie in no folder then. */
const OLD = {
  program: 'serialized_exported_program.json',
  weights: 'serialized_state_dict.pt',
  constants: 'serialized_constants.pt',
} as const;
const OLD_NAMES: ReadonlyMap<string, string> = new Map([
  [OLD.program, 'models/model.json'],
  [OLD.weights, 'data/weights/model.pt'],
  [OLD.constants, 'data/constants/model.pt'],
]);

/** A program of torch.export that was read, checked, and can be given to the engine. */
export interface CheckedProgram {
  readonly program: ExportedProgram;
  readonly sizes: ImageSizes;
  /** A path that opens the very file that was checked, until it is closed; as an archive's. */
  readonly source: string;
  /**
   * Compares the weights with their checksums; can run while the engine maps them.
   *
   * @throws SightlineError UNTRUSTED_ARCHIVE
   */
  verifyWeights(): Promise<void>;
  /** Closes the file. */
  close(): Promise<void>;
}

const LARGEST_JSON = 32 * 2 ** 20;
const LARGEST_RATIO = 100;
const RATIO_MATTERS = 2 ** 20;
/** Of tensors that show elements several times. */
const MOST_EXPANDED = 4 * 2 ** 30;
const MOST_READ_FACTOR = 4;

/**
 * Reads and checks an exported program. Nothing of it is run, and no weight is kept in memory.
 *
 * @throws SightlineError UNTRUSTED_ARCHIVE for what is damaged or forged, UNSUPPORTED_MODEL for what cannot be run,
 * FILE_NOT_FOUND, NOT_A_FILE
 */
export async function checkProgram(path: string, maxBytes: number): Promise<CheckedProgram> {
  const file = await openRegular(path);
  try {
    const before = await file.stat();
    if (before.size > maxBytes) {
      throw untrusted({
        archive: path,
        what: `has ${before.size} bytes, more than the ${maxBytes} that are allowed (maxArchiveBytes)`,
      });
    }
    const windowed = new WindowedFile(file, before.size);
    const members = await readDirectory(windowed, before.size, path, { allowsTop: true });
    const archive = new Archive(path, windowed, members);
    const { program, sizes } = await archive.read(before.size);
    const source = process.platform === 'linux' ? `/proc/self/fd/${file.fd}` : path;
    return {
      program: { ...program, file: source },
      sizes,
      source,
      verifyWeights: async () => {
        await verifyStored(file, archive.stored, path);
        const after = await file.stat();
        if (after.mtimeMs !== before.mtimeMs || after.size !== before.size) {
          throw damaged({ archive: path, what: 'changed while it was loaded' });
        }
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** JSON, as Python writes it: numbers that JSON has not stand there by their names in older releases. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(
      text.replace(/"(?:[^"\\]|\\.)*"|-?Infinity|NaN/g, (found) => (found[0] === '"' ? found : `"${found}"`)),
    );
  }
}

class Archive {
  private readonly members = new Map<string, Member>();
  /** Members with tensors, in the order of the file. */
  readonly stored: readonly Member[];

  constructor(
    private readonly path: string,
    private readonly windowed: WindowedFile,
    members: readonly Member[],
  ) {
    const isOld = members.some(({ name }) => name === OLD.program);
    const top = members[0]!.name.split('/', 1)[0]!;
    for (const member of members) {
      if (isOld) {
        this.members.set(OLD_NAMES.get(member.name) ?? member.name, member);
        continue;
      }
      if (!member.name.startsWith(`${top}/`)) {
        throw damaged({
          archive: path,
          member: member.name,
          what: `does not lie in the folder ${top}, as the others do`,
        });
      }
      this.members.set(member.name.slice(top.length + 1), member);
    }
    this.stored = [...this.members]
      .filter(([name, { method }]) => /^data\/(?:weights|constants)\//.test(name) && method === 0)
      .map(([, member]) => member)
      .sort((a, b) => a.offset - b.offset);
  }

  async read(fileSize: number): Promise<ReturnType<typeof readProgram>> {
    const { path, members } = this;
    if ([...members.keys()].some((name) => name.startsWith('data/aotinductor/'))) {
      throw this.unsupported(
        'was compiled by AOTInductor for one kind of machine, and has no operators that could be read; save the exported program itself with torch.export.save',
      );
    }
    const models = [...members.keys()].filter((name) => /^models\/[^/]+\.json$/.test(name));
    if (models.length !== 1) {
      throw this.unsupported(
        models.length === 0
          ? 'holds no exported program; save one with torch.export.save'
          : `holds ${models.length} exported programs; save one with torch.export.save`,
      );
    }
    const name = /([^/]+)\.json$/.exec(models[0]!)![1]!;
    const order = members.get('byteorder');
    if (order !== undefined && order.size <= 16) {
      const text = (await readMember(this.windowed, order, path)).toString('latin1');
      if (text !== 'little') {
        throw damaged({ archive: path, member: order.name, what: 'says that it is not little-endian' });
      }
    }
    const root = await this.json(models[0]!);
    this.checkSchema(root);
    const weights = await this.tensors('weights', name, `${name}_weights_config`);
    const constants = await this.tensors('constants', name, `${name}_constants_config`);
    const logical = [...weights.values(), ...constants.values()].reduce((sum, each) => sum + each.logicalBytes, 0);
    if (logical > MOST_EXPANDED + MOST_READ_FACTOR * fileSize) {
      throw damaged({
        archive: path,
        what: `describes tensors of ${(logical / 2 ** 30).toFixed(1)} GB, where the file holds ${(fileSize / 2 ** 30).toFixed(1)} GB`,
      });
    }
    return readProgram(root, { weights, constants }, path);
  }

  private checkSchema(root: Fields): void {
    const version = root.at('schema_version');
    const [major, minor] = [version.at('major').int(), version.at('minor').int()];
    if (major === SCHEMA) return;
    const by = root.at('torch_version').isMissing ? '' : `, by torch ${printable(root.at('torch_version').text())}`;
    throw this.unsupported(
      `was written in schema ${major}.${minor} of torch.export${by}, of which sightline reads ${SCHEMA}.x; export it again with a PyTorch of 2.6 to 2.15`,
    );
  }

  private async tensors(folder: string, name: string, config: string): Promise<Map<string, StoredTensor>> {
    const path = `data/${folder}/${config}.json`;
    if (!this.members.has(path)) return this.nested(`data/${folder}/${name}.pt`);
    return readTensors(await this.json(path), (name) => this.members.get(`data/${folder}/${name}`));
  }

  /** Until PyTorch 2.8 they are a file of torch.save within the file. */
  private async nested(name: string): Promise<Map<string, StoredTensor>> {
    const member = this.members.get(name);
    if (member === undefined) {
      throw damaged({ archive: this.path, what: `has no ${printable(name)}, which holds its tensors` });
    }
    if (member.method !== 0) {
      throw damaged({ archive: this.path, member: member.name, what: 'is compressed, which weights never are' });
    }
    const part = this.windowed.part(member.dataOffset, member.size);
    const found = await readNestedCheckpoint(part, member.size, this.path);
    return new Map([...found].map(([key, each]) => [key, { part: each, logicalBytes: logicalBytesOf(each) }]));
  }

  private async json(name: string): Promise<Fields> {
    const member = this.members.get(name)!;
    const refuse = (what: string): Error => damaged({ archive: this.path, member: member.name, what });
    if (member.size > LARGEST_JSON) throw refuse(`has ${member.size} bytes, more than that of any model`);
    if (member.size > RATIO_MATTERS && member.size > LARGEST_RATIO * member.packedSize) {
      throw refuse(`unpacks ${member.packedSize} bytes to ${member.size}`);
    }
    const text = (await readMember(this.windowed, member, this.path)).toString('utf8');
    let value: unknown;
    try {
      value = parse(text);
    } catch {
      throw refuse('is no JSON');
    }
    return Fields.of(value, member.name, this.path);
  }

  private unsupported(what: string): SightlineError {
    return new SightlineError('UNSUPPORTED_MODEL', `${this.path} ${what}.`, { details: { path: this.path } });
  }
}
