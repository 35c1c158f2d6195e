import type { FileHandle } from 'node:fs/promises';

import type { TensorPart } from '../engine/weight-plan.js';
import { SightlineError } from '../support/errors.js';
import { readMember, verifyStored } from './contents.js';
import { readDirectory, type Member } from './directory.js';
import { PickleFault, type Tensor, type Value } from './pickle-values.js';
import { readPickle } from './pickle.js';
import { printable } from './refusal.js';
import { openRegular, savedFormOf } from './saved-form.js';
import { findStateDict } from './state-dict.js';
import { WindowedFile } from './windowed-file.js';
import { isRowMajor } from './strides.js';

/** Tensors of a checkpoint of torch.save, by name, and where they lie. */
export interface SavedTensors {
  readonly tensors: ReadonlyMap<string, TensorPart>;
  /** What was chosen of several, as sentences. */
  readonly notes: readonly string[];
}

const LARGEST_PICKLE = 32 * 2 ** 20;
const LARGEST_RATIO = 100;
const RATIO_MATTERS = 2 ** 20;

/** Names of safetensors for PyTorch's kinds of storages. */
const DTYPES: Readonly<Record<string, string>> = {
  FloatStorage: 'F32',
  DoubleStorage: 'F64',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
  ComplexFloatStorage: 'C64',
};

/**
 * Reads what a file of torch.save holds and where. Nothing of it is run or made: its pickle is described, and refused
 * where it needs more than tensors, dicts, lists, numbers and strings.
 *
 * @param fileIndex what `file` of every part is to be
 * @throws SightlineError FILE_NOT_FOUND, NOT_A_FILE, INVALID_WEIGHTS
 */
export async function readCheckpoint(path: string, fileIndex: number): Promise<SavedTensors> {
  const form = await savedFormOf(path);
  if (form === 'pickle' || form === 'tar') throw oldForm(path, form);
  return opened(path, async (handle, members) => {
    const { root, locate } = await readRoot(handle.windowed, members, path, fileIndex);
    const found = findStateDict(root);
    if (found === null) {
      throw unsound(path, 'it holds no tensors by name, neither at its top nor in "model" and the like');
    }
    const tensors = locate(found.tensors);
    const { path: keys, others } = found;
    const notes =
      others.length === 0
        ? []
        : [`${path} holds weights at ${printable(others.join(', '))} too; those at ${keys.join('.')} are used.`];
    return { tensors, notes };
  });
}

/**
 * Reads the checkpoint that is a part of another file, as programs of torch.export have had their weights: a dict of
 * tensors, which may be empty.
 *
 * @throws SightlineError INVALID_WEIGHTS, UNTRUSTED_ARCHIVE
 */
export async function readNestedCheckpoint(
  part: WindowedFile,
  size: number,
  path: string,
): Promise<ReadonlyMap<string, TensorPart>> {
  const { root, locate } = await readRoot(part, await readDirectory(part, size, path), path, 0);
  if (root.kind !== 'dict') throw unsound(path, 'it holds no dict of tensors');
  const named = root.items.length === 0 ? null : findStateDict(root);
  return named === null ? new Map() : locate(named.tensors);
}

interface Root {
  readonly root: Value;
  readonly locate: (tensors: ReadonlyMap<string, Tensor>) => Map<string, TensorPart>;
}

async function readRoot(
  file: WindowedFile,
  members: readonly Member[],
  path: string,
  fileIndex: number,
): Promise<Root> {
  const byPath = insideFolder(path, members);
  const pickle = byPath.get('data.pkl');
  if (pickle === undefined) throw unsound(path, 'it has no data.pkl');
  await requireLittleEndian(path, file, byPath.get('byteorder'));
  if (pickle.size > LARGEST_PICKLE) throw unsound(path, `its data.pkl has ${pickle.size} bytes`);
  if (pickle.size > RATIO_MATTERS && pickle.size > LARGEST_RATIO * pickle.packedSize) {
    throw unsound(path, `its data.pkl unpacks ${pickle.packedSize} bytes to ${pickle.size}`);
  }
  const bytes = await readMember(file, pickle, path);
  const root = described(path, bytes, (key) => byPath.get(`data/${key}`)?.size ?? null);
  const locate: Root['locate'] = (tensors) => {
    const found = new Map<string, TensorPart>();
    for (const [name, tensor] of tensors) {
      const part = located(path, name, tensor, byPath.get(`data/${tensor.storage.key}`), fileIndex);
      found.set(name, { ...part, begin: part.begin + file.start, end: part.end + file.start });
    }
    return found;
  };
  return { root, locate };
}

/**
 * Compares the numbers of a checkpoint with its checksums; can run while they are mapped.
 *
 * @throws SightlineError INVALID_WEIGHTS
 */
export async function verifyCheckpoint(path: string): Promise<void> {
  await opened(path, async (handle, members) => {
    const stored = [...insideFolder(path, members)].filter(([name]) => name.startsWith('data/'));
    const byPlace = stored.map(([, member]) => member).sort((a, b) => a.offset - b.offset);
    await verifyStored(handle.file, byPlace, path);
  });
}

interface Opened {
  readonly file: FileHandle;
  readonly windowed: WindowedFile;
}

/** Opens, reads the directory, and closes again; what is wrong with the zip archive is told as of a checkpoint. */
async function opened<Result>(
  path: string,
  read: (handle: Opened, members: readonly Member[]) => Promise<Result>,
): Promise<Result> {
  const file = await openRegular(path);
  try {
    const before = await file.stat();
    const windowed = new WindowedFile(file, before.size);
    const result = await read({ file, windowed }, await readDirectory(windowed, before.size, path));
    const after = await file.stat();
    if (after.mtimeMs !== before.mtimeMs || after.size !== before.size) {
      throw unsound(path, 'it changed while it was read');
    }
    return result;
  } catch (error) {
    if (
      !(error instanceof SightlineError) ||
      (error.code !== 'UNTRUSTED_ARCHIVE' && error.code !== 'NOT_TORCHSCRIPT')
    ) {
      throw error;
    }
    const { what } = error.details as { readonly what?: string };
    throw unsound(path, what ?? 'it is no zip archive, or a truncated one', error);
  } finally {
    await file.close();
  }
}

/** Members by their path in the one folder that torch.save writes. */
function insideFolder(path: string, members: readonly Member[]): Map<string, Member> {
  const top = members[0]!.name.split('/', 1)[0]!;
  const byPath = new Map<string, Member>();
  for (const member of members) {
    if (!member.name.startsWith(`${top}/`)) {
      throw unsound(path, `${printable(member.name)} does not lie in ${printable(top)}`);
    }
    const inside = member.name.slice(top.length + 1);
    if (inside.startsWith('data/') && member.method !== 0) {
      throw unsound(path, `its numbers in ${printable(member.name)} are compressed; save it with torch.save again`);
    }
    byPath.set(inside, member);
  }
  return byPath;
}

/** Releases before 2.0 do not write it, and wrote what the machine had. */
async function requireLittleEndian(path: string, file: WindowedFile, member: Member | undefined): Promise<void> {
  if (member === undefined) return;
  const order = member.size > 16 ? '' : (await readMember(file, member, path)).toString('latin1');
  if (order !== 'little') throw unsound(path, 'its numbers are not in little-endian order; save it on another machine');
}

function described(path: string, bytes: Buffer, storageBytes: (key: string) => number | null): Value {
  try {
    return readPickle(bytes, storageBytes);
  } catch (error) {
    if (!(error instanceof PickleFault)) throw error;
    if (error.refused !== null) throw pythonObject(path, error.refused);
    throw unsound(path, `its data.pkl ${printable(error.message)}`, error);
  }
}

/** Where a tensor's numbers lie; strides only where they are not those of a row-major one. */
function located(path: string, name: string, tensor: Tensor, member: Member | undefined, file: number): TensorPart {
  const { storage, offset, shape, strides } = tensor;
  const dtype = DTYPES[storage.type];
  if (dtype === undefined) throw unsound(path, `${printable(name)} is a ${storage.type}, which is not supported`);
  const isEmpty = shape.includes(0);
  const last = shape.reduce((sum, length, axis) => sum + (length - 1) * strides[axis]!, 0);
  const begin = (member?.dataOffset ?? 0) + offset * storage.width;
  const end = isEmpty ? begin : begin + (last + 1) * storage.width;
  return { file, begin, end, dtype, shape, ...(!isEmpty && !isRowMajor(shape, strides) && { strides }) };
}

function oldForm(path: string, form: 'pickle' | 'tar'): SightlineError {
  const name = JSON.stringify(path);
  return new SightlineError(
    'INVALID_WEIGHTS',
    `${path} is a ${form === 'tar' ? 'tar archive' : 'plain pickle'}, as torch.save wrote it before PyTorch 1.6; convert it in Python: torch.save(torch.load(${name}, map_location='cpu', weights_only=${form === 'tar' ? 'False' : 'True'}), 'converted.pth').`,
    { details: { path, form } },
  );
}

function pythonObject(
  path: string,
  { name, isRoot }: { readonly name: string; readonly isRoot: boolean },
): SightlineError {
  const shown = printable(name);
  const load = `torch.load(${JSON.stringify(path)}, map_location='cpu', weights_only=False)`;
  return new SightlineError(
    'INVALID_WEIGHTS',
    isRoot
      ? `${path} is a whole pickled object, ${shown}, which is Python code and not weights; if you trust it, export it in Python: model = ${load}.eval(); torch.jit.trace(model, torch.rand(1, 3, 224, 224)).save('model.pt').`
      : `${path} needs ${shown}, which only Python can make; if you trust it, save its weights alone in Python: saved = ${load}; torch.save(saved['model'], 'weights.pth'), where 'model' is the key of the state dict. Is it a module, save its state_dict().`,
    { details: { path, object: name, isWhole: isRoot } },
  );
}

function unsound(path: string, what: string, cause?: unknown): SightlineError {
  return new SightlineError('INVALID_WEIGHTS', `${path} is no sound checkpoint of torch.save: ${what}.`, {
    cause,
    details: { path },
  });
}
