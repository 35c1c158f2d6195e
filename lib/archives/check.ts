import { open, type FileHandle } from 'node:fs/promises';

import { unreadable } from '../support/files.js';
import { checkCode, checkRecursion } from './code.js';
import { readMember, verifyStored } from './contents.js';
import { WindowedFile } from './windowed-file.js';
import { readDirectory, type Member } from './directory.js';
import { checkPickle } from './pickle.js';
import { PickleFault } from './pickle-values.js';
import { damaged, forPhones, isForPhones, notTorchScript, untrusted } from './refusal.js';
import { CodeFault } from './tokens.js';

export interface CheckOptions {
  /** Lets pass what is sound but outside of what image classifiers need. Damage never passes. Default false. */
  readonly trust?: boolean | undefined;
  /** Largest file, in bytes. Default 16 GiB. */
  readonly maxBytes?: number | undefined;
}

/** An archive whose directory, code and pickles are in order. */
export interface CheckedArchive {
  /**
   * Compares the weights with their checksums; can run while LibTorch loads the archive, since no weight has a say in
   * what LibTorch does. Makes sure that nobody wrote to the file meanwhile.
   *
   * @throws SightlineError UNTRUSTED_ARCHIVE
   */
  verifyWeights(): Promise<void>;
  /**
   * A path that opens the very file that was checked, whatever its name stands for by now, until it is closed. Only
   * Linux has such paths; elsewhere it is the file's own.
   */
  readonly source: string;
  /** Closes the file. */
  close(): Promise<void>;
}

export const DEFAULT_MAX_BYTES = 16 * 2 ** 30;

/** All source files together; the largest classifiers have some hundred kilobytes. */
const MOST_CODE = 32 * 2 ** 20;
const LARGEST_PICKLE = 32 * 2 ** 20;
/** Packed to unpacked, above a size where it matters. */
const LARGEST_RATIO = 100;
const RATIO_MATTERS = 2 ** 20;
/** Of tensors that expand fewer elements than they show. */
const MOST_EXPANDED = 4 * 2 ** 30;
/** How often all weights may be read. */
const MOST_READ_FACTOR = 4;

/**
 * Checks an archive before LibTorch opens it: nothing in it is run, and no weight is kept in memory.
 *
 * @param path a regular file
 * @throws SightlineError NOT_TORCHSCRIPT for what is no archive, UNTRUSTED_ARCHIVE for what is damaged or more than an
 * image classifier needs, FILE_NOT_FOUND, NOT_A_FILE
 */
export async function checkArchive(path: string, options: CheckOptions = {}): Promise<CheckedArchive> {
  const { trust = false, maxBytes = DEFAULT_MAX_BYTES } = options;
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (cause) {
    throw unreadable(path, cause, 'give the path of a TorchScript archive');
  }
  try {
    const before = await handle.stat();
    if (!before.isFile()) throw notTorchScript(path, 'it is no regular file');
    if (before.size > maxBytes) {
      throw untrusted({
        archive: path,
        what: `has ${before.size} bytes, more than the ${maxBytes} that are allowed (maxArchiveBytes)`,
      });
    }
    const file = new WindowedFile(handle, before.size);
    const members = await readDirectory(file, before.size, path);
    const weights = await new Contents(file, members, path, trust).check();
    return {
      verifyWeights: async () => {
        await verifyStored(handle, weights, path);
        const after = await handle.stat();
        if (after.mtimeMs !== before.mtimeMs || after.size !== before.size) {
          throw damaged({ archive: path, what: 'changed while it was loaded' });
        }
      },
      source: process.platform === 'linux' ? `/proc/self/fd/${handle.fd}` : path,
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

class Contents {
  private readonly byPath = new Map<string, Member>();
  private readonly enumerations = new Map<string, ReadonlySet<string>>();

  constructor(
    private readonly file: WindowedFile,
    private readonly members: readonly Member[],
    private readonly archive: string,
    private readonly trust: boolean,
  ) {}

  /** Returns the stored tensors, in the order of the file. */
  async check(): Promise<Member[]> {
    const { archive } = this;
    const top = this.members[0]!.name.split('/', 1)[0]!;
    for (const member of this.members) {
      if (!member.name.startsWith(`${top}/`)) {
        throw damaged({ archive, member: member.name, what: `does not lie in the folder ${top}, as the others do` });
      }
      this.byPath.set(member.name.slice(top.length + 1), member);
    }
    if (this.byPath.has('model.json')) {
      throw notTorchScript(archive, 'it is in a format that PyTorch gave up in 2019; export the model again');
    }
    const [data, constants] = [this.byPath.get('data.pkl'), this.byPath.get('constants.pkl')];
    if (
      data === undefined ||
      constants === undefined ||
      !(this.byPath.has('version') || this.byPath.has('.data/version'))
    ) {
      throw notTorchScript(
        archive,
        data !== undefined
          ? 'it holds weights only (torch.save); export the model with torch.jit.trace(...).save(...)'
          : 'it is an archive of something else; export the model with torch.jit.trace(...).save(...)',
      );
    }
    const code: [path: string, member: Member][] = [];
    const weights: Member[] = [];
    let codeBytes = 0;
    for (const [path, member] of this.byPath) {
      if (/^(?:data|constants)\//.test(path)) {
        if (member.method !== 0) {
          throw damaged({ archive, member: member.name, what: 'is compressed, which weights never are' });
        }
        weights.push(member);
      } else if (path.startsWith('code/') && path.endsWith('.py')) {
        codeBytes += member.size;
        code.push([path.slice('code/'.length), member]);
      }
    }
    if (codeBytes > MOST_CODE) throw damaged({ archive, what: `has ${codeBytes} bytes of code, more than any model` });
    for (const [, member] of code) this.checkRatio(member);
    code.sort(([, a], [, b]) => a.offset - b.offset);
    await this.checkSources(code);
    await this.checkPickles(data, constants);
    return weights.sort((a, b) => a.offset - b.offset);
  }

  private async checkSources(code: readonly (readonly [path: string, member: Member])[]): Promise<void> {
    const attributes = new Map<string, ReadonlySet<string>>();
    for (const [path, member] of code) {
      const source = await readMember(this.file, member, this.archive);
      this.faulty(member, () => {
        const facts = checkCode(source.toString('latin1'), path);
        for (const [name, types] of facts.attributes) attributes.set(name, types);
        for (const [name, values] of facts.enumerations) this.enumerations.set(name, values);
      });
    }
    this.faulty(undefined, () => checkRecursion(attributes));
  }

  private async checkPickles(data: Member, constants: Member): Promise<void> {
    let stored = 0;
    let logical = 0;
    for (const [member, folder, root] of [
      [data, 'data', 'object'],
      [constants, 'constants', 'tuple'],
    ] as const) {
      if (member.size > LARGEST_PICKLE) {
        throw damaged({
          archive: this.archive,
          member: member.name,
          what: `has ${member.size} bytes, more than that of any model`,
        });
      }
      this.checkRatio(member);
      const bytes = await readMember(this.file, member, this.archive);
      this.faulty(member, () => {
        const facts = checkPickle(bytes, root, {
          form: 'torchscript',
          storageBytes: (key) => this.byPath.get(`${folder}/${key}`)?.size ?? null,
          isEnumerated: (name, literal) => this.enumerations.get(name)?.has(literal) ?? false,
          allowsClass: (name) => name.startsWith('__torch__.torch.classes.quantized.'),
          trust: this.trust,
        });
        stored += facts.storedBytes;
        logical += facts.logicalBytes;
      });
    }
    const there = this.members.reduce((sum, { size }) => sum + size, 0);
    if (stored > MOST_READ_FACTOR * there) {
      throw damaged({ archive: this.archive, what: 'names the same weights again and again' });
    }
    if (logical > MOST_EXPANDED + MOST_READ_FACTOR * there) {
      throw damaged({
        archive: this.archive,
        member: data.name,
        what: `describes tensors of ${(logical / 2 ** 30).toFixed(1)} GB, where the file holds ${(there / 2 ** 30).toFixed(1)} GB`,
      });
    }
  }

  private checkRatio(member: Member): void {
    if (member.size > RATIO_MATTERS && member.size > LARGEST_RATIO * member.packedSize) {
      throw damaged({
        archive: this.archive,
        member: member.name,
        what: `unpacks ${member.packedSize} bytes to ${member.size}`,
      });
    }
  }

  private faulty(member: Member | undefined, check: () => void): void {
    try {
      check();
    } catch (error) {
      const refusal = {
        archive: this.archive,
        what: (error as Error).message,
        ...(member !== undefined && { member: member.name }),
      };
      const refused = isForPhones(refusal) ? forPhones : untrusted;
      if (error instanceof PickleFault) throw error.isSound ? refused(refusal) : damaged(refusal);
      if (!(error instanceof CodeFault)) throw error;
      if (!this.trust) throw refused(refusal);
    }
  }
}
