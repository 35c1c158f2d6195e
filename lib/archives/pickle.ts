/**
 * Reads a pickle of TorchScript as LibTorch's unpickler does, or one of torch.save, without making anything: what would
 * be made is described and checked. LibTorch believes the sizes and strides of a tensor, does not compare a storage
 * with the bytes that are there, and takes numbers for functions where a forger puts them.
 */
import { isKnownGlobal, PickleCalls, type PickleContext } from './pickle-calls.js';
import { bearable, depthOf, PickleFault, weightOf, type Compound, type Value } from './pickle-values.js';

export interface PickleFacts {
  /** Bytes that LibTorch reads for storages, each as often as it is named. */
  readonly storedBytes: number;
  /** Bytes of all tensors as if none were expanded. */
  readonly logicalBytes: number;
}

/**
 * @param root what the archive's code expects at the top
 * @throws PickleFault
 */
export function checkPickle(bytes: Buffer, root: 'object' | 'tuple', context: PickleContext): PickleFacts {
  const machine = new Machine(bytes, context);
  const top = machine.run();
  if (top.kind !== root) {
    throw new PickleFault(`holds a ${top.kind}, where ${root === 'object' ? 'a module' : 'a tuple'} is expected`);
  }
  return { storedBytes: machine.calls.storedBytes, logicalBytes: machine.calls.logicalBytes };
}

/**
 * What a pickle of torch.save describes.
 *
 * @throws PickleFault
 */
export function readPickle(bytes: Buffer, storageBytes: PickleContext['storageBytes']): Value {
  return new Machine(bytes, {
    form: 'checkpoint',
    storageBytes,
    isEnumerated: () => false,
    allowsClass: () => false,
    trust: false,
  }).run();
}

class Machine {
  readonly calls: PickleCalls;
  private at = 0;
  private readonly stack: Value[] = [];
  private readonly marks: number[] = [];
  private readonly memo = new Map<number, Value>();

  constructor(
    private readonly bytes: Buffer,
    private readonly context: PickleContext,
  ) {
    this.calls = new PickleCalls(context);
  }

  run(): Value {
    if (this.byte() !== 0x80 || this.byte() !== 2) throw new PickleFault('is no pickle of protocol 2');
    for (;;) {
      const code = this.byte();
      if (code === 0x2e) break;
      this.step(code);
    }
    if (this.at !== this.bytes.length) throw new PickleFault('has bytes after its end');
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
        // LONG1; LibTorch writes and reads eight bytes, Python as many as it takes
        const length = this.byte();
        if (length > 8 || (length !== 8 && this.context.form === 'torchscript')) {
          throw new PickleFault('has a whole number of an unusual length');
        }
        const wide = Buffer.alloc(8);
        const given = this.take(length);
        if (length > 0 && given[length - 1]! >= 0x80) wide.fill(0xff);
        given.copy(wide);
        return this.push({ kind: 'int', value: Number(wide.readBigInt64LE(0)) });
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
        return this.push({ kind: 'dict', items: [], weight: 1, depth: 1, sealed: false });
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
        return this.push(this.calls.storage(this.pop()));
      default:
        throw new PickleFault(
          `has the instruction 0x${code.toString(16).padStart(2, '0')}, which ${this.context.form === 'checkpoint' ? 'no pickle of weights uses' : 'TorchScript does not use'}`,
        );
    }
  }

  private global(module: string, name: string): void {
    const full = `${module}.${name}`;
    if (this.context.form === 'checkpoint' && !isKnownGlobal(full, 'checkpoint')) {
      const refused = { name: full, isRoot: this.stack.length === 0 };
      throw new PickleFault(`needs ${full}`, true, refused);
    }
    if (full.startsWith('__torch__.')) {
      if (full.startsWith('__torch__.torch.classes.') && !this.context.trust && !this.context.allowsClass(full)) {
        throw new PickleFault(`makes an object of the custom class ${full.slice('__torch__.'.length)}`, true);
      }
      return this.push({ kind: 'class', name: full });
    }
    if (!isKnownGlobal(full, this.context.form) && !this.context.trust) {
      throw new PickleFault(`calls ${full}, which no TorchScript module needs`, true);
    }
    this.push({ kind: 'global', name: full });
  }

  private instance(): void {
    const taken = this.pop();
    const made = this.pop();
    if (made.kind !== 'class' || taken.kind !== 'tuple' || taken.items.length !== 0) {
      throw new PickleFault('makes an object of what is no class');
    }
    this.push({ kind: 'instance', name: made.name });
  }

  private build(): void {
    const state = this.pop();
    const made = this.pop();
    // An ordered dict's attributes: state dicts have the versions of their modules there.
    if (this.context.form === 'checkpoint' && made.kind === 'dict' && state.kind === 'dict') return this.push(made);
    if (made.kind !== 'instance') throw new PickleFault('fills an object that it has not made');
    this.push(this.compound('object', [this.part(state)]));
  }

  private reduce(): void {
    const given = this.pop();
    const called = this.pop();
    if (called.kind === 'class') {
      const literal =
        given.kind === 'string' ? JSON.stringify(given.value) : given.kind === 'int' ? String(given.value) : '';
      // LibTorch takes the value from an empty stack where the enumeration does not have it.
      if (!this.context.isEnumerated(called.name, literal)) {
        throw new PickleFault(`holds what is no value of ${called.name.slice('__torch__.'.length)}`);
      }
      return this.push({ kind: 'enum' });
    }
    if (called.kind !== 'global' || given.kind !== 'tuple') throw new PickleFault('calls what is no function');
    this.push(this.calls.call(called.name, given.items));
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
    if (dict?.kind !== 'dict' || dict.sealed || items.length % 2 !== 0) {
      throw new PickleFault('adds to what is no open dict');
    }
    for (const item of items) {
      const part = this.part(item);
      dict.items.push(part);
      dict.weight += weightOf(part);
      dict.depth = Math.max(dict.depth, depthOf(part) + 1);
    }
    bearable(dict);
  }

  private tuple(items: readonly Value[]): Compound {
    return this.compound(
      'tuple',
      items.map((item) => (item.kind === 'global' ? item : this.part(item))),
    );
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

  /**
   * A value that becomes part of another. Storage kinds and schemes only ever stand in tuples, functions and classes
   * nowhere.
   */
  private part(value: Value): Value {
    if (value.kind === 'class' || value.kind === 'instance' || value.kind === 'global') {
      throw new PickleFault('keeps a function or class as a value');
    }
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
    if ((value.kind === 'list' || value.kind === 'dict') && !value.sealed) {
      throw new PickleFault('holds a value that contains itself');
    }
    this.push(value);
  }

  private push(value: Value): void {
    this.stack.push(value);
  }

  private pop(): Value {
    if (this.stack.length <= (this.marks[this.marks.length - 1] ?? 0)) {
      throw new PickleFault('takes more values than it has made');
    }
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
    return this.take(end + 1 - this.at)
      .subarray(0, -1)
      .toString('utf8');
  }
}
