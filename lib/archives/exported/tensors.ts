import type { TensorPart } from '../../engine/weight-plan.js';
import type { Member } from '../directory.js';
import { printable } from '../refusal.js';
import { readDtype } from './arguments.js';
import type { Fields } from './fields.js';
import { isRowMajor } from '../strides.js';

const WIDTHS: Readonly<Record<string, number | undefined>> = {
  U8: 1,
  I8: 1,
  BOOL: 1,
  I16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  F32: 4,
  I64: 8,
  F64: 8,
};
const MOST_AXES = 16;

/** A tensor that the file says where it lies. */
export interface StoredTensor {
  readonly part: TensorPart;
  /** What it takes written out, where it shows elements several times. */
  readonly logicalBytes: number;
}

/**
 * Reads a list of tensors: `data/weights/model_weights_config.json`, or that of the constants.
 *
 * @param find a member by its path in the folder of the list
 */
export function readTensors(config: Fields, find: (path: string) => Member | undefined): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of config.at('config').entries()) {
    if (!entry.at('use_pickle').isMissing && entry.at('use_pickle').bool()) {
      throw entry.wrong('a tensor that only Python can unpickle');
    }
    const path = entry.at('path_name').text();
    const member = find(path);
    if (member === undefined) throw entry.wrong(`the member ${printable(path)}, which is missing`);
    if (member.method !== 0) throw entry.wrong(`the member ${printable(path)}, which is compressed`);
    tensors.set(name, readTensor(entry.at('tensor_meta'), member));
  }
  return tensors;
}

function readTensor(meta: Fields, member: Member): StoredTensor {
  const dtype = readDtype(meta.at('dtype'));
  const width = WIDTHS[dtype];
  if (width === undefined) throw meta.wrong(`numbers of the kind ${dtype}, which is not supported`);
  const numbers = (name: string): number[] =>
    meta
      .at(name)
      .list()
      .map((each) => fixed(each));
  const [shape, strides] = [numbers('sizes'), numbers('strides')];
  if (shape.length > MOST_AXES || strides.length !== shape.length) {
    throw meta.wrong('sizes that do not fit its strides');
  }
  const offset = meta.at('storage_offset').isMissing ? 0 : fixed(meta.at('storage_offset'));
  const isEmpty = shape.includes(0);
  const last = shape.reduce((sum, length, axis) => sum + (length - 1) * strides[axis]!, offset);
  if (!isEmpty && (last + 1) * width > member.size) {
    throw meta.wrong(`a tensor of ${(last + 1) * width} bytes, where its member has ${member.size}`);
  }
  const begin = isEmpty ? member.dataOffset : member.dataOffset + offset * width;
  const end = isEmpty ? begin : member.dataOffset + (last + 1) * width;
  const isPlain = isEmpty || isRowMajor(shape, strides);
  const part = { file: 0, begin, end, dtype, shape, ...(!isPlain && { strides }) };
  return { part, logicalBytes: logicalBytesOf(part) };
}

/** What a tensor takes written out. */
export function logicalBytesOf({ dtype, shape }: TensorPart): number {
  return shape.reduce((product, length) => product * length, WIDTHS[dtype] ?? 16);
}

function fixed(fields: Fields): number {
  const [kind, value] = fields.choice();
  if (kind !== 'as_int') throw fields.wrong('no length');
  return value.count();
}
