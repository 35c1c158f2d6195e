/**
 * Reads a TorchScript pickle as LibTorch's unpickler does, without making anything: what would be made is described and
 * checked. LibTorch believes the sizes and strides of a tensor, does not compare a storage with the bytes that are there,
 * and takes numbers for functions where a forger puts them.
 */

/** A storage: elements of one type that lie in a member of the archive. */
interface Storage {
  readonly kind: 'storage';
  readonly elements: number;
}

interface Tensor {
  readonly kind: 'tensor';
  readonly shape: readonly number[];
}

interface List {
  readonly kind: 'list';
  readonly items: Value[];
  weight: number;
  depth: number;
  /** Once it is part of something else nothing may be added: that is how a thing would come to contain itself. */
  sealed: boolean;
}

interface Dict {
  readonly kind: 'dict';
  entries: number;
  weight: number;
  depth: number;
  sealed: boolean;
}

interface Compound {
  readonly kind: 'tuple' | 'object';
  readonly items: readonly Value[];
  readonly weight: number;
  readonly depth: number;
}

type Value =
  | { readonly kind: 'none' | 'float' | 'enum' | 'ordered-dict' | 'device' | 'unknown' }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'global'; readonly name: string }
  | { readonly kind: 'class'; readonly name: string }
  | { readonly kind: 'instance'; readonly name: string }
  | Storage
  | Tensor
  | List
  | Dict
  | Compound;

/** What is wrong with a pickle, as the end of a sentence. */
export class PickleFault extends Error {
  constructor(
    what: string,
    /** Whether it is sound, but more than an image classifier needs. */
    readonly isSound = false,
  ) {
    super(what);
  }
}

export interface PickleContext {
  /** Bytes of the member that holds a storage; null where there is none. */
  readonly storageBytes: (key: string) => number | null;
  /** Whether an enumeration of the archive has a value, given as it stands in the code. */
  readonly isEnumerated: (name: string, literal: string) => boolean;
  /** Whether a custom class (`__torch__.torch.classes...`) may be made. */
  readonly allowsClass: (name: string) => boolean;
  /** Lets functions and classes pass that are not known. */
  readonly trust: boolean;
}

export interface PickleFacts {
  /** Bytes that LibTorch reads for storages, each as often as it is named. */
  readonly storedBytes: number;
  /** Bytes of all tensors as if none were expanded. */
  readonly logicalBytes: number;
}

const DEEPEST = 256;
/** Values of the whole, those that are shared counted wherever they appear. */
const HEAVIEST = 50_000_000;
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

/**
 * @param root what the archive's code expects at the top
 * @throws PickleFault
 */
export function checkPickle(bytes: Buffer, root: 'object' | 'tuple', context: PickleContext): PickleFacts {
  const machine = new Machine(bytes, context);
  const top = machine.run();
  if (top.kind !== root) throw new PickleFault(`holds a ${top.kind}, where ${root === 'object' ? 'a module' : 'a tuple'} is expected`);
  return { storedBytes: machine.storedBytes, logicalBytes: machine.logicalBytes };
}

class Machine {
  storedBytes = 0;
  logicalBytes = 0;
  private at = 0;
  private readonly stack: Value[] = [];
  private readonly marks: number[] = [];
  private readonly memo = new Map<number, Value>();
  private readonly elementBytes = new Map<Storage, number>();

  constructor(
    private readonly bytes: Buffer,
    private readonly context: PickleContext,
  ) {}

  run(): Value {
    if (this.byte() !== 0x80 || this.byte() !== 2) throw new PickleFault('is no pickle of protocol 2');
    for (;;) {
      const code = this.byte();
      if (code === 0x2e) break;
      this.step(code);
    }
    if (this.at !== this.bytes.length) throw new PickleFault('has bytes behind its end');
    if (this.stack.length !== 1 || this.marks.length !== 0) throw new PickleFault('does not end with one value');
    return this.stack[0]!;
  }

  private step(code: number): void {
    switch (code) {
      case 0x28: // MARK
        this.marks.push(this.stack.length);
        return;
      case 0x29: // EMPTY_TUPLE
        return this.push(this.tuple([]));
      case 0x74: // TUPLE
        return this.push(this.tuple(this.popMark()));
      case 0x85: // TUPLE1, TUPLE2, TUPLE3
      case 0x86:
      case 0x87: {
        const items = Array.from({ length: code - 0x84 }, () => this.pop()).reverse();
        return this.push(this.tuple(items));
      }
      case 0x4e: // NONE
        return this.push({ kind: 'none' });
      case 0x88: // NEWTRUE, NEWFALSE
      case 0x89:
        return this.push({ kind: 'bool', value: code === 0x88 });
      case 0x4a: // BININT
        return this.push({ kind: 'int', value: this.take(4).readInt32LE(0) });
      case 0x4b: // BININT1
        return this.push({ kind: 'int', value: this.byte() });
      case 0x4d: // BININT2
        return this.push({ kind: 'int', value: this.take(2).readUInt16LE(0) });
      case 0x8a: {
        // LONG1; LibTorch writes and reads eight bytes
        if (this.byte() !== 8) throw new PickleFault('has a whole number of an unusual length');
        return this.push({ kind: 'int', value: Number(this.take(8).readBigInt64LE(0)) });
      }
      case 0x47: // BINFLOAT
        this.take(8);
        return this.push({ kind: 'float' });
      case 0x58: {
        // BINUNICODE
        const length = this.take(4).readUInt32LE(0);
        return this.push({ kind: 'string', value: this.take(length).toString('utf8') });
      }
      case 0x5d: // EMPTY_LIST
        return this.push({ kind: 'list', items: [], weight: 1, depth: 1, sealed: false });
      case 0x7d: // EMPTY_DICT
        return this.push({ kind: 'dict', entries: 0, weight: 1, depth: 1, sealed: false });
      case 0x61: // APPEND
        return this.append([this.pop()]);
      case 0x65: // APPENDS
        return this.append(this.popMark());
      case 0x73: {
        // SETITEM
        const value = this.pop();
        return this.set([this.pop(), value]);
      }
      case 0x75: // SETITEMS
        return this.set(this.popMark());
      case 0x71: // BINPUT, LONG_BINPUT
        return this.remember(this.byte());
      case 0x72:
        return this.remember(this.take(4).readUInt32LE(0));
      case 0x68: // BINGET, LONG_BINGET
        return this.recall(this.byte());
      case 0x6a:
        return this.recall(this.take(4).readUInt32LE(0));
      case 0x63: // GLOBAL
        return this.global(this.line(), this.line());
      case 0x81: // NEWOBJ
        return this.instance();
      case 0x62: // BUILD
        return this.build();
      case 0x52: // REDUCE
        return this.reduce();
      case 0x51: // BINPERSID
        return this.push(this.storage(this.pop()));
      default:
        throw new PickleFault(`has the instruction 0x${code.toString(16).padStart(2, '0')}, which TorchScript does not use`);
    }
  }

  private global(module: string, name: string): void {
    const full = `${module}.${name}`;
    if (full.startsWith('__torch__.')) {
      if (full.startsWith('__torch__.torch.classes.') && !this.context.trust && !this.context.allowsClass(full)) {
        throw new PickleFault(`makes an object of the custom class ${full.slice('__torch__.'.length)}`, true);
      }
      return this.push({ kind: 'class', name: full });
    }
    if (!KNOWN_GLOBALS.has(full) && !this.context.trust) throw new PickleFault(`calls ${full}, which no TorchScript module needs`, true);
    this.push({ kind: 'global', name: full });
  }

  private instance(): void {
    const taken = this.pop();
    const made = this.pop();
    if (made.kind !== 'class' || taken.kind !== 'tuple' || taken.items.length !== 0) throw new PickleFault('makes an object of what is no class');
    this.push({ kind: 'instance', name: made.name });
  }

  private build(): void {
    const state = this.pop();
    const made = this.pop();
    if (made.kind !== 'instance') throw new PickleFault('fills an object that it has not made');
    this.push(this.compound('object', [this.part(state)]));
  }

  private reduce(): void {
    const given = this.pop();
    const called = this.pop();
    if (called.kind === 'class') {
      const literal = given.kind === 'string' ? JSON.stringify(given.value) : given.kind === 'int' ? String(given.value) : '';
      // LibTorch takes the value from an empty stack where the enumeration does not have it.
      if (!this.context.isEnumerated(called.name, literal)) throw new PickleFault(`holds what is no value of ${called.name.slice('__torch__.'.length)}`);
      return this.push({ kind: 'enum' });
    }
    if (called.kind !== 'global' || given.kind !== 'tuple') throw new PickleFault('calls what is no function');
    const { items } = given;
    const listed = BUILT_LISTS[called.name];
    if (listed !== undefined) {
      const [list] = items;
      if (items.length !== 1 || list?.kind !== 'list' || !list.items.every(({ kind }) => kind === listed)) throw new PickleFault(`gives ${called.name} something else than a list of its kind`);
      return this.push(list);
    }
    switch (called.name) {
      case 'torch.jit._pickle.restore_type_tag': {
        const [value, tag] = items;
        if (items.length !== 2 || (value?.kind !== 'list' && value?.kind !== 'dict') || tag?.kind !== 'string') throw new PickleFault('gives a type to what is no list or dict');
        if (tag.value.length > LONGEST_TAG || !/^(?:List|Dict)\[[\w.,[\] ()]*\]$/.test(tag.value) || nesting(tag.value) > 16) throw new PickleFault('has a type that cannot be read');
        return this.push(value);
      }
      case 'torch._utils._rebuild_tensor_v2':
        if (items.length !== 6) throw new PickleFault('describes a tensor in an unusual way');
        return this.push(this.tensor(items));
      case 'torch._utils._rebuild_qtensor':
        if (items.length !== 7) throw new PickleFault('describes a tensor in an unusual way');
        return this.push(this.quantised(items));
      case 'collections.OrderedDict':
        if (items.length !== 0) throw new PickleFault('fills a dict in an unusual way');
        return this.push({ kind: 'ordered-dict' });
      case 'torch.device':
        if (items.length < 1 || items.length > 2 || items[0]!.kind !== 'string') throw new PickleFault('names a device in an unusual way');
        return this.push({ kind: 'device' });
      default:
        if (!this.context.trust) throw new PickleFault(`calls ${called.name}, which is no function`);
        return this.push({ kind: 'unknown' });
    }
  }

  /** ('storage', type, key, device, elements) */
  private storage(value: Value): Storage {
    if (value.kind !== 'tuple' || value.items.length !== 5) throw new PickleFault('describes a storage in an unusual way');
    const [word, type, key, device, count] = value.items as [Value, Value, Value, Value, Value];
    if (word.kind !== 'string' || word.value !== 'storage' || type.kind !== 'global' || key.kind !== 'string' || device.kind !== 'string') throw new PickleFault('describes a storage in an unusual way');
    if (!/^(?:cpu|cuda(?::\d{1,3})?)$/.test(device.value)) throw new PickleFault('keeps a storage on a device that is none');
    const width = ELEMENT_BYTES[type.name.slice('torch.'.length)];
    if (width === undefined) throw new PickleFault(`has a storage of the unknown kind ${type.name}`, true);
    const elements = count.kind === 'int' ? count.value : -1;
    if (!Number.isSafeInteger(elements) || elements < 0) throw new PickleFault(`gives storage ${key.value} an impossible number of elements`);
    const there = this.context.storageBytes(key.value);
    if (elements > 0 && there === null) throw new PickleFault(`names storage ${key.value}, which is not there`);
    if (elements * width > (there ?? 0)) throw new PickleFault(`says that storage ${key.value} has ${elements * width} bytes, but there are ${there ?? 0}`);
    this.storedBytes += there ?? 0;
    const made: Storage = { kind: 'storage', elements };
    this.elementBytes.set(made, width);
    return made;
  }

  /** (storage, offset, sizes, strides, ...) */
  private tensor(items: readonly Value[]): Tensor {
    const [storage, offset, sizes, strides] = items as [Value, Value, Value, Value];
    if (storage.kind !== 'storage') throw new PickleFault('makes a tensor of what is no storage');
    const shape = whole(sizes);
    const steps = whole(strides);
    const first = offset.kind === 'int' ? offset.value : -1;
    if (shape === null || steps === null || shape.length !== steps.length || shape.length > 64 || first < 0) throw new PickleFault('describes a tensor by impossible sizes or strides');
    // Without the empty axes, so that no product of the others can leave the range of whole numbers unseen.
    const extent = shape.reduce((product, size) => product * Math.max(1, size), 1);
    if (!Number.isSafeInteger(extent)) throw new PickleFault(`describes a tensor of ${shape.join(' x ')}, more than any memory holds`);
    const count = shape.includes(0) ? 0 : extent;
    const last = shape.reduce((sum, size, i) => sum + (size - 1) * steps[i]!, first);
    if (count > 0 && last >= storage.elements) throw new PickleFault(`describes a tensor of ${shape.join(' x ')} that reaches beyond its storage of ${storage.elements} elements`);
    if (count === 0 && first > storage.elements) throw new PickleFault('describes a tensor that begins beyond its storage');
    this.logicalBytes += count * this.elementBytes.get(storage)!;
    return { kind: 'tensor', shape };
  }

  /** (storage, offset, sizes, strides, (scheme, scale, zero point[, axis]), ...) */
  private quantised(items: readonly Value[]): Tensor {
    const tensor = this.tensor(items);
    const scheme = items[4]!;
    const [name, scale, zero, axis] = scheme.kind === 'tuple' ? scheme.items : [];
    if (name?.kind === 'global' && name.name === 'torch.per_tensor_affine' && scale?.kind === 'float' && zero?.kind === 'int') return tensor;
    const channels = axis?.kind === 'int' ? tensor.shape[axis.value] : undefined;
    const fits = (value: Value | undefined) => value?.kind === 'tensor' && value.shape.length === 1 && value.shape[0] === channels;
    if (name?.kind === 'global' && name.name === 'torch.per_channel_affine' && channels !== undefined && fits(scale) && fits(zero)) return tensor;
    throw new PickleFault('describes a quantised tensor in an unusual way');
  }

  private append(items: readonly Value[]): void {
    const list = this.stack[this.stack.length - 1];
    if (list?.kind !== 'list' || list.sealed) throw new PickleFault('adds to what is no open list');
    for (const item of items) {
      const part = this.part(item);
      list.items.push(part);
      list.weight += weightOf(part);
      list.depth = Math.max(list.depth, depthOf(part) + 1);
    }
    bearable(list);
  }

  private set(items: readonly Value[]): void {
    const dict = this.stack[this.stack.length - 1];
    if (dict?.kind !== 'dict' || dict.sealed || items.length % 2 !== 0) throw new PickleFault('adds to what is no open dict');
    for (const item of items) {
      const part = this.part(item);
      dict.weight += weightOf(part);
      dict.depth = Math.max(dict.depth, depthOf(part) + 1);
    }
    dict.entries += items.length / 2;
    bearable(dict);
  }

  private tuple(items: readonly Value[]): Compound {
    return this.compound('tuple', items.map((item) => (item.kind === 'global' ? item : this.part(item))));
  }

  private compound(kind: 'tuple' | 'object', items: readonly Value[]): Compound {
    const made: Compound = {
      kind,
      items,
      weight: items.reduce((sum, item) => sum + weightOf(item), 1),
      depth: 1 + items.reduce((deepest, item) => Math.max(deepest, depthOf(item)), 0),
    };
    bearable(made);
    return made;
  }

  /** A value that becomes part of another. Storage kinds and schemes only ever stand in tuples, functions and classes nowhere. */
  private part(value: Value): Value {
    if (value.kind === 'class' || value.kind === 'instance' || value.kind === 'global') throw new PickleFault('keeps a function or class as a value');
    if (value.kind === 'list' || value.kind === 'dict') value.sealed = true;
    return value;
  }

  private remember(key: number): void {
    const value = this.stack[this.stack.length - 1];
    if (value === undefined || value.kind === 'instance') throw new PickleFault('remembers what is not there');
    this.memo.set(key, value);
  }

  private recall(key: number): void {
    const value = this.memo.get(key);
    if (value === undefined) throw new PickleFault('recalls what it has not remembered');
    if ((value.kind === 'list' || value.kind === 'dict') && !value.sealed) throw new PickleFault('holds a value that contains itself');
    this.push(value);
  }

  private push(value: Value): void {
    this.stack.push(value);
  }

  private pop(): Value {
    if (this.stack.length <= (this.marks[this.marks.length - 1] ?? 0)) throw new PickleFault('takes more values than it has made');
    return this.stack.pop()!;
  }

  private popMark(): Value[] {
    const mark = this.marks.pop();
    if (mark === undefined) throw new PickleFault('takes more values than it has made');
    return this.stack.splice(mark);
  }

  private byte(): number {
    return this.take(1)[0]!;
  }

  private take(length: number): Buffer {
    if (this.at + length > this.bytes.length) throw new PickleFault('ends too early');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end === -1 || end - this.at > 4096) throw new PickleFault('ends too early');
    return this.take(end + 1 - this.at).subarray(0, -1).toString('utf8');
  }
}

function weightOf(value: Value): number {
  return 'weight' in value ? value.weight : 1;
}

function depthOf(value: Value): number {
  return 'depth' in value ? value.depth : 1;
}

function bearable({ weight, depth }: { readonly weight: number; readonly depth: number }): void {
  if (depth > DEEPEST) throw new PickleFault(`holds values nested more than ${DEEPEST} deep`);
  if (weight > HEAVIEST) throw new PickleFault('holds more values than any model');
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
