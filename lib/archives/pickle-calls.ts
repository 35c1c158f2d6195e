import { PickleFault, type Storage, type Tensor, type Value } from './pickle-values.js';

export interface PickleContext {
  /** Who wrote it: TorchScript's exporter in C++, or torch.save in Python. */
  readonly form: 'torchscript' | 'checkpoint';
  /** Bytes of the member that holds a storage; null where there is none. */
  readonly storageBytes: (key: string) => number | null;
  /** Whether an enumeration of the archive has a value, given as it stands in the code. */
  readonly isEnumerated: (name: string, literal: string) => boolean;
  /** Whether a custom class (`__torch__.torch.classes...`) may be made. */
  readonly allowsClass: (name: string) => boolean;
  /** Lets functions and classes pass that are not known. */
  readonly trust: boolean;
}

const LONGEST_TAG = 4096;

const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  FloatStorage: 4,
  DoubleStorage: 8,
  HalfStorage: 2,
  BFloat16Storage: 2,
  LongStorage: 8,
  IntStorage: 4,
  ShortStorage: 2,
  CharStorage: 1,
  ByteStorage: 1,
  BoolStorage: 1,
  ComplexFloatStorage: 8,
  ComplexDoubleStorage: 16,
  QInt8Storage: 1,
  QUInt8Storage: 1,
  QInt32Storage: 4,
};

const BUILT_LISTS: Readonly<Record<string, Value['kind']>> = {
  'torch.jit._pickle.build_intlist': 'int',
  'torch.jit._pickle.build_doublelist': 'float',
  'torch.jit._pickle.build_boollist': 'bool',
  'torch.jit._pickle.build_tensorlist': 'tensor',
};

const KNOWN_GLOBALS = new Set([
  ...Object.keys(BUILT_LISTS),
  ...Object.keys(ELEMENT_BYTES).map((name) => `torch.${name}`),
  'torch.jit._pickle.restore_type_tag',
  'torch._utils._rebuild_tensor_v2',
  'torch._utils._rebuild_qtensor',
  'torch.per_tensor_affine',
  'torch.per_channel_affine',
  'collections.OrderedDict',
  'torch.device',
]);

/** What torch.save calls for tensors, parameters and their containers. */
const CHECKPOINT_GLOBALS = new Set([
  ...Object.keys(ELEMENT_BYTES).map((name) => `torch.${name}`),
  'torch._utils._rebuild_tensor_v2',
  'torch._utils._rebuild_parameter',
  // Of a parameter with attributes of its own, which are not read.
  'torch._utils._rebuild_parameter_with_state',
  'collections.OrderedDict',
  'torch.device',
  'torch.Size',
]);

/** Whether pickles of that form call a function or class of this name. */
export function isKnownGlobal(name: string, form: PickleContext['form']): boolean {
  return (form === 'checkpoint' ? CHECKPOINT_GLOBALS : KNOWN_GLOBALS).has(name);
}

/** What the functions that a pickle calls would make, and how large that is. */
export class PickleCalls {
  /** See `PickleFacts`. */
  storedBytes = 0;
  logicalBytes = 0;

  constructor(private readonly context: Pick<PickleContext, 'form' | 'storageBytes' | 'trust'>) {}

  /** @throws PickleFault */
  call(name: string, items: readonly Value[]): Value {
    const listed = BUILT_LISTS[name];
    if (listed !== undefined) {
      const [list] = items;
      if (items.length !== 1 || list?.kind !== 'list' || !list.items.every(({ kind }) => kind === listed)) {
        throw new PickleFault(`gives ${name} something else than a list of its kind`);
      }
      return list;
    }
    switch (name) {
      case 'torch.jit._pickle.restore_type_tag': {
        const [value, tag] = items;
        if (items.length !== 2 || (value?.kind !== 'list' && value?.kind !== 'dict') || tag?.kind !== 'string') {
          throw new PickleFault('gives a type to what is no list or dict');
        }
        if (
          tag.value.length > LONGEST_TAG ||
          !/^(?:List|Dict)\[[\w.,[\] ()]*\]$/.test(tag.value) ||
          nesting(tag.value) > 16
        ) {
          throw new PickleFault('has a type that cannot be read');
        }
        return value;
      }
      case 'torch._utils._rebuild_tensor_v2':
        if (items.length !== 6) throw new PickleFault('describes a tensor in an unusual way');
        return this.tensor(items);
      case 'torch._utils._rebuild_qtensor':
        if (items.length !== 7) throw new PickleFault('describes a tensor in an unusual way');
        return this.quantized(items);
      case 'collections.OrderedDict':
        if (items.length !== 0) throw new PickleFault('fills a dict in an unusual way');
        // TorchScript has them for hooks only, which are empty; torch.save fills them.
        return this.context.form === 'checkpoint'
          ? { kind: 'dict', items: [], weight: 1, depth: 1, sealed: false }
          : { kind: 'ordered-dict' };
      case 'torch._utils._rebuild_parameter':
      case 'torch._utils._rebuild_parameter_with_state':
        if (items.length !== (name.endsWith('_state') ? 4 : 3) || items[0]!.kind !== 'tensor') {
          throw new PickleFault('describes a parameter in an unusual way');
        }
        return items[0];
      case 'torch.Size':
        if (items.length !== 1 || items[0]!.kind !== 'tuple') throw new PickleFault('gives a shape in an unusual way');
        return items[0];
      case 'torch.device':
        if (items.length < 1 || items.length > 2 || items[0]!.kind !== 'string') {
          throw new PickleFault('names a device in an unusual way');
        }
        return { kind: 'device' };
      default:
        if (!this.context.trust) throw new PickleFault(`calls ${name}, which is no function`);
        return { kind: 'unknown' };
    }
  }

  /** ('storage', type, key, device, elements) */
  storage(value: Value): Storage {
    if (value.kind !== 'tuple' || value.items.length !== 5) {
      throw new PickleFault('describes a storage in an unusual way');
    }
    const [word, type, key, device, count] = value.items as [Value, Value, Value, Value, Value];
    if (
      word.kind !== 'string' ||
      word.value !== 'storage' ||
      type.kind !== 'global' ||
      key.kind !== 'string' ||
      device.kind !== 'string'
    ) {
      throw new PickleFault('describes a storage in an unusual way');
    }
    // Where a checkpoint's numbers were has no say in where they go: `mps`, `xla:0`, `npu:3`.
    const devices = this.context.form === 'checkpoint' ? /^[a-z]{2,16}(?::\d{1,3})?$/ : /^(?:cpu|cuda(?::\d{1,3})?)$/;
    if (!devices.test(device.value)) {
      throw new PickleFault('keeps a storage on a device that is none');
    }
    const kind = type.name.slice('torch.'.length);
    const width = Object.hasOwn(ELEMENT_BYTES, kind) ? ELEMENT_BYTES[kind] : undefined;
    if (width === undefined) throw new PickleFault(`has a storage of the unknown kind ${type.name}`, true);
    const elements = count.kind === 'int' ? count.value : -1;
    if (!Number.isSafeInteger(elements) || elements < 0) {
      throw new PickleFault(`gives storage ${key.value} an impossible number of elements`);
    }
    const there = this.context.storageBytes(key.value);
    if (elements > 0 && there === null) throw new PickleFault(`names storage ${key.value}, which is not there`);
    if (elements * width > (there ?? 0)) {
      throw new PickleFault(
        `says that storage ${key.value} has ${elements * width} bytes, but there are ${there ?? 0}`,
      );
    }
    this.storedBytes += there ?? 0;
    return { kind: 'storage', key: key.value, type: kind, elements, width };
  }

  /** (storage, offset, sizes, strides, ...) */
  private tensor(items: readonly Value[]): Tensor {
    const [storage, offset, sizes, strides] = items as [Value, Value, Value, Value];
    if (storage.kind !== 'storage') throw new PickleFault('makes a tensor of what is no storage');
    const shape = whole(sizes);
    const steps = whole(strides);
    const first = offset.kind === 'int' ? offset.value : -1;
    if (shape === null || steps === null || shape.length !== steps.length || shape.length > 64 || first < 0) {
      throw new PickleFault('describes a tensor by impossible sizes or strides');
    }
    // Without the empty axes, so that no product of the others can leave the range of whole numbers unseen.
    const extent = shape.reduce((product, size) => product * Math.max(1, size), 1);
    if (!Number.isSafeInteger(extent)) {
      throw new PickleFault(`describes a tensor of ${shape.join(' x ')}, more than any memory holds`);
    }
    const count = shape.includes(0) ? 0 : extent;
    const last = shape.reduce((sum, size, i) => sum + (size - 1) * steps[i]!, first);
    if (count > 0 && last >= storage.elements) {
      throw new PickleFault(
        `describes a tensor of ${shape.join(' x ')} that reaches beyond its storage of ${storage.elements} elements`,
      );
    }
    if (count === 0 && first > storage.elements) {
      throw new PickleFault('describes a tensor that begins beyond its storage');
    }
    this.logicalBytes += count * storage.width;
    return { kind: 'tensor', storage, offset: first, shape, strides: steps };
  }

  /** (storage, offset, sizes, strides, (scheme, scale, zero point[, axis]), ...) */
  private quantized(items: readonly Value[]): Tensor {
    const tensor = this.tensor(items);
    const scheme = items[4]!;
    const [name, scale, zero, axis] = scheme.kind === 'tuple' ? scheme.items : [];
    if (
      name?.kind === 'global' &&
      name.name === 'torch.per_tensor_affine' &&
      scale?.kind === 'float' &&
      zero?.kind === 'int'
    ) {
      return tensor;
    }
    const channels = axis?.kind === 'int' ? tensor.shape[axis.value] : undefined;
    const fits = (value: Value | undefined) =>
      value?.kind === 'tensor' && value.shape.length === 1 && value.shape[0] === channels;
    if (
      name?.kind === 'global' &&
      name.name === 'torch.per_channel_affine' &&
      channels !== undefined &&
      fits(scale) &&
      fits(zero)
    ) {
      return tensor;
    }
    throw new PickleFault('describes a quantized tensor in an unusual way');
  }
}

/** The whole numbers >= 0 of a tuple; null where it is something else. */
function whole(value: Value): number[] | null {
  if (value.kind !== 'tuple') return null;
  const numbers = value.items.map((item) => (item.kind === 'int' ? item.value : -1));
  return numbers.every((number) => Number.isSafeInteger(number) && number >= 0) ? numbers : null;
}

function nesting(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const letter of text) {
    if (letter === '[' || letter === '(') deepest = Math.max(deepest, ++depth);
    if (letter === ']' || letter === ')') depth--;
  }
  return deepest;
}
