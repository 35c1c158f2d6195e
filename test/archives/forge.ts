/** Makes archives by hand, honest and hostile: a TorchScript archive is a zip of source, pickles and bytes. */
import { crc32, deflateRawSync } from 'node:zlib';

export interface ForgedMember {
  readonly name: string;
  readonly data: Buffer;
  readonly deflate?: boolean;
  /** What the headers say, where it is not the truth. */
  readonly told?: {
    readonly size?: number;
    readonly packedSize?: number;
    readonly crc32?: number;
    readonly method?: number;
    readonly flags?: number;
    readonly offset?: number;
    readonly localName?: string;
  };
}

/** A zip archive of those members, one behind the other. */
export function zip(
  members: readonly ForgedMember[],
  { trailer = Buffer.alloc(0), count = members.length }: { readonly trailer?: Buffer; readonly count?: number } = {},
): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, data, deflate = false, told = {} } of members) {
    const packed = deflate ? deflateRawSync(data) : data;
    const raw = Buffer.from(name);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(told.flags ?? 0, 2);
    fields.writeUInt16LE(told.method ?? (deflate ? 8 : 0), 4);
    fields.writeUInt32LE(told.crc32 ?? crc32(data), 10);
    fields.writeUInt32LE(told.packedSize ?? packed.length, 14);
    fields.writeUInt32LE(told.size ?? data.length, 18);
    const localName = Buffer.from(told.localName ?? name);
    const local = Buffer.from(fields);
    local.writeUInt16LE(localName.length, 22);
    fields.writeUInt16LE(raw.length, 22);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(told.offset ?? at, 10);
    directory.push(Buffer.from('504b01021400', 'hex'), fields, tail, raw);
    parts.push(Buffer.from('504b0304', 'hex'), local, localName, packed);
    at += 30 + localName.length + packed.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, central, end, trailer]);
}

const text = (value: string): Buffer => {
  const raw = Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(raw.length);
  return Buffer.concat([Buffer.from('X'), length, raw]);
};

/** Pieces of pickles. */
export const pickle = {
  text,
  int: (value: number): Buffer => {
    const wide = Buffer.alloc(8);
    wide.writeBigInt64LE(BigInt(value));
    return Buffer.concat([Buffer.from([0x8a, 8]), wide]);
  },
  none: Buffer.from('N'),
  no: Buffer.from([0x89]),
  global: (module: string, name: string): Buffer => Buffer.from(`c${module}\n${name}\n`),
  tuple: (...items: Buffer[]): Buffer => Buffer.concat([Buffer.from('('), ...items, Buffer.from('t')]),
  list: (...items: Buffer[]): Buffer => Buffer.concat([Buffer.from(']('), ...items, Buffer.from('e')]),
  call: (called: Buffer, ...items: Buffer[]): Buffer =>
    Buffer.concat([called, pickle.tuple(...items), Buffer.from('R')]),
  object: (module: string, name: string, attributes: Readonly<Record<string, Buffer>>): Buffer =>
    Buffer.concat([
      pickle.global(module, name),
      Buffer.from([0x29, 0x81]),
      Buffer.from('}('),
      ...Object.entries(attributes).flatMap(([key, value]) => [text(key), value]),
      Buffer.from('ub'),
    ]),
  /** Float32, in the storage `key` of `elements`. */
  tensor: (key: string, elements: number, sizes: readonly number[], strides: readonly number[], offset = 0): Buffer =>
    pickle.call(
      pickle.global('torch._utils', '_rebuild_tensor_v2'),
      Buffer.concat([
        pickle.tuple(
          text('storage'),
          pickle.global('torch', 'FloatStorage'),
          text(key),
          text('cpu'),
          pickle.int(elements),
        ),
        Buffer.from('Q'),
      ]),
      pickle.int(offset),
      pickle.tuple(...sizes.map(pickle.int)),
      pickle.tuple(...strides.map(pickle.int)),
      pickle.no,
      pickle.call(pickle.global('collections', 'OrderedDict')),
    ),
  whole: (value: Buffer): Buffer => Buffer.concat([Buffer.from([0x80, 2]), value, Buffer.from('.')]),
};

const WEIGHTS = Float32Array.from({ length: 15 }, (_, i) => Math.sin(i));

export interface ForgedModel {
  /** Body of forward(self, x), indented by 4. */
  readonly forward?: string;
  /** Further lines of the class body, indented by 2. */
  readonly members?: string;
  /** In front of the class. */
  readonly before?: string;
  /** Of forward, behind `x: Tensor`. */
  readonly argument?: string;
  /** Further attributes of the object. */
  readonly attributes?: Readonly<Record<string, Buffer>>;
  readonly weight?: Buffer;
  readonly weights?: Float32Array;
  readonly data?: Buffer;
  readonly constants?: Buffer;
  /** Further members. */
  readonly extra?: readonly ForgedMember[];
}

/** The members of a classifier of five classes by the mean of each colour; any image size. */
export function modelMembers(model: ForgedModel = {}): ForgedMember[] {
  const source = `${model.before ?? ''}class Net(Module):
  __parameters__ = ["weight", ]
  __buffers__ = []
  weight : Tensor
  training : bool
${model.members ?? ''}  def forward(self: __torch__.forged.Net,
    x: Tensor${model.argument ?? ''}) -> Tensor:
${model.forward ?? '    return torch.matmul(torch.mean(x, [2, 3]), self.weight)'}
`;
  const root = pickle.object('__torch__.forged', 'Net', {
    weight: model.weight ?? pickle.tensor('0', 15, [3, 5], [5, 1]),
    training: pickle.no,
    ...model.attributes,
  });
  return [
    { name: 'forged/data/0', data: Buffer.from((model.weights ?? WEIGHTS).buffer) },
    { name: 'forged/data.pkl', data: model.data ?? pickle.whole(root) },
    { name: 'forged/code/__torch__/forged.py', data: Buffer.from(source), deflate: true },
    { name: 'forged/constants.pkl', data: model.constants ?? pickle.whole(Buffer.from(')')) },
    { name: 'forged/version', data: Buffer.from('3\n') },
    ...(model.extra ?? []),
  ];
}

export function forge(model: ForgedModel = {}): Buffer {
  return zip(modelMembers(model));
}
