import { forge, modelMembers, pickle, zip, type ForgedMember, type ForgedModel } from './forge.js';

/** A hostile file: what it is, its bytes, and how it is refused. */
export interface Hostile {
  readonly what: string;
  readonly bytes: Buffer;
  readonly code: 'UNTRUSTED_ARCHIVE' | 'NOT_TORCHSCRIPT' | 'INVALID_WEIGHTS' | 'MODEL_TOO_SLOW' | 'UNSUPPORTED_MODEL';
  readonly sentence: RegExp;
}

const SCORES = '    return torch.matmul(torch.mean(x, [2, 3]), self.weight)';
const first = (statement: string): string => `${statement.replace(/^/gm, '    ')}\n${SCORES}`;

/** The members of the plain model, one of them changed. */
function changed(name: string, change: (member: ForgedMember) => ForgedMember): Buffer {
  return zip(modelMembers().map((member) => (member.name.endsWith(name) ? change(member) : member)));
}

function added(...extra: ForgedMember[]): Buffer {
  return forge({ extra });
}

const small = Buffer.from('1');

/** @param canary a path that no archive may write to */
export function hostileFiles(canary: string): Hostile[] {
  const path = JSON.stringify(canary);
  const refused = (
    what: string,
    bytes: Buffer,
    sentence: RegExp,
    code: Hostile['code'] = 'UNTRUSTED_ARCHIVE',
  ): Hostile => ({ what, bytes, code, sentence });
  const running = (what: string, model: ForgedModel, sentence: RegExp): Hostile =>
    refused(what, forge(model), sentence);
  const endless = (what: string, model: ForgedModel): Hostile =>
    refused(what, forge(model), /more turns of its loops/, 'MODEL_TOO_SLOW');
  const rigged = (what: string, model: ForgedModel, sentence: RegExp): Hostile => refused(what, forge(model), sentence);
  const nested = (depth: number): Buffer => Buffer.concat([Buffer.from(')'), Buffer.alloc(depth, 0x85)]);
  const doubled = (times: number): Buffer =>
    Buffer.concat([Buffer.from(')'), ...Array.from({ length: times }, () => Buffer.from([0x71, 0, 0x68, 0, 0x86]))]);
  return [
    // -- zip
    refused('an empty file', Buffer.alloc(0), /no archive/, 'NOT_TORCHSCRIPT'),
    refused(
      'a file of noise',
      Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919) % 251)),
      /no archive/,
      'NOT_TORCHSCRIPT',
    ),
    refused('half an archive', forge().subarray(0, 800), /truncated/, 'NOT_TORCHSCRIPT'),
    refused(
      'an archive behind something else',
      Buffer.concat([Buffer.from('#!/bin/sh\n'), forge()]),
      /no archive/,
      'NOT_TORCHSCRIPT',
    ),
    refused(
      'an archive with bytes after its end',
      zip(modelMembers(), { trailer: Buffer.from('more') }),
      /no archive/,
      'NOT_TORCHSCRIPT',
    ),
    refused(
      'weights only',
      zip([
        { name: 'w/data.pkl', data: pickle.whole(Buffer.from('}')) },
        { name: 'w/version', data: Buffer.from('3\n') },
      ]),
      /no sound checkpoint of torch\.save/,
      'INVALID_WEIGHTS',
    ),
    refused(
      'an archive of something else',
      zip([{ name: 'a/readme.txt', data: small }]),
      /something else/,
      'NOT_TORCHSCRIPT',
    ),
    refused(
      'a format of 2019',
      added({ name: 'forged/model.json', data: Buffer.from('{}') }),
      /2019/,
      'NOT_TORCHSCRIPT',
    ),
    refused(
      'a zip bomb for code',
      added({ name: 'forged/code/__torch__/bomb.py', data: Buffer.alloc(30 * 2 ** 20, 0x20), deflate: true }),
      /unpacks \d+ bytes to 31457280/,
    ),
    refused(
      'more code than any model',
      added({ name: 'forged/code/__torch__/bomb.py', data: Buffer.alloc(33 * 2 ** 20, 0x20), deflate: true }),
      /bytes of code/,
    ),
    refused(
      'a member that unpacks to more than it says',
      changed('forged.py', (member) => ({ ...member, told: { size: 20 } })),
      /does not unpack to the size/,
    ),
    refused(
      'compressed weights',
      changed('data/0', (member) => ({ ...member, deflate: true })),
      /is compressed, which weights never are/,
    ),
    refused(
      'a size beyond the file',
      changed('data/0', (member) => ({ ...member, told: { size: 2 ** 31, packedSize: 2 ** 31 } })),
      /beyond the end/,
    ),
    refused(
      'a stored member of two sizes',
      changed('data/0', (member) => ({ ...member, told: { size: 600 } })),
      /unpack to 600/,
    ),
    refused('a path that climbs', added({ name: 'forged/../../escape', data: small }), /leaves its folder/),
    refused('an absolute path', added({ name: '/etc/escape', data: small }), /absolute path/),
    refused('a path of Windows', added({ name: 'forged\\..\\escape', data: small }), /backslash/),
    refused('a drive of Windows', added({ name: 'C:/escape', data: small }), /absolute path/),
    refused('control characters in a name', added({ name: 'forged/\u001b[2J', data: small }), /control characters/),
    refused('a second top folder', added({ name: 'other/data/0', data: small }), /does not lie in the folder forged/),
    refused(
      'a name that is there twice',
      added({ name: 'forged/data.pkl', data: pickle.whole(Buffer.from(')')) }),
      /is there twice/,
    ),
    refused(
      'a name that is there twice but for its case',
      added({ name: 'forged/DATA.pkl', data: pickle.whole(Buffer.from(')')) }),
      /is there twice/,
    ),
    refused(
      'another name in the header of a member',
      changed('data/0', (member) => ({ ...member, told: { localName: 'forged/data/1' } })),
      /another name in its own header/,
    ),
    refused(
      'two members of the same bytes',
      added({ name: 'forged/data/1', data: small, told: { offset: 0 } }),
      /own header/,
    ),
    refused(
      'an encrypted member',
      changed('data/0', (member) => ({ ...member, told: { flags: 1 } })),
      /encrypted/,
    ),
    refused(
      'an unknown way of packing',
      changed('data/0', (member) => ({ ...member, told: { method: 12 } })),
      /method 12/,
    ),
    refused('fewer members than the directory says', zip(modelMembers(), { count: 60_000 }), /broken directory/),
    refused('fewer members than there are', zip(modelMembers(), { count: 2 }), /after the last entry/),
    refused(
      'a wrong checksum of the code',
      changed('forged.py', (member) => ({ ...member, told: { crc32: 1 } })),
      /differs from its checksum/,
    ),
    refused(
      'a wrong checksum of weights',
      changed('data/0', (member) => ({ ...member, told: { crc32: 1 } })),
      /differs from its checksum/,
    ),
    // -- code
    running('torch.save', { forward: first(`_0 = torch.save(x, ${path})`) }, /torch\.save, which opens files/),
    running('aten::save', { forward: first(`_0 = ops.aten.save(x, ${path})`) }, /aten\.save, which opens files/),
    running(
      'torch.save by another name',
      { forward: first(`t = torch\n_0 = t.save(x, ${path})`) },
      /operator aten::save in forged\.Net\.forward/,
    ),
    running(
      'torch.save by getattr',
      { forward: first(`_0 = getattr(torch, "save")(x, ${path})`) },
      /operator aten::save/,
    ),
    running(
      'torch.save in a method that nobody calls',
      {
        members: `  def idle(self: __torch__.forged.Net,\n    x: Tensor) -> Tensor:\n    t = torch\n    _0 = t.save(x, ${path})\n    return x\n`,
      },
      /operator aten::save in forged\.Net\.idle/,
    ),
    running(
      'torch.save below a branch',
      { forward: first(`t = torch\nif torch.gt(torch.dim(x), 9):\n  _0 = t.save(x, ${path})\nelse:\n  pass`) },
      /operator aten::save/,
    ),
    running(
      'a file that is read',
      { forward: first('_0 = torch.from_file("/etc/passwd", False, 16)') },
      /torch\.from_file, which opens files/,
    ),
    running(
      'a file that is read by another name',
      {
        forward:
          '    t = torch\n    return torch.add(torch.matmul(torch.mean(x, [2, 3]), self.weight), torch.sum(t.from_file("/etc/passwd", False, 16)))',
      },
      /operator aten::from_file/,
    ),
    running(
      'a default that is worked out',
      { argument: `,\n    y: int=torch.len([torch.save(1, ${path})])` },
      /which opens files/,
    ),
    running(
      'a harmless default that is worked out',
      { argument: ',\n    y: int=torch.len([1])' },
      /works out the default of an argument of forward/,
    ),
    running(
      'a constant of the class that is worked out',
      { members: '  a : Final[int] = torch.len([1])\n' },
      /body of a class/,
    ),
    running(
      'a named tuple with a default that is worked out',
      { before: 'class T(NamedTuple):\n  a : int = torch.len([1])\n' },
      /works out the value of a/,
    ),
    running(
      '__setstate__ that writes',
      {
        members: `  def __setstate__(self: __torch__.forged.Net,\n    state: Tensor) -> NoneType:\n    _0 = torch.save(state, ${path})\n    return None\n`,
      },
      /torch\.save/,
    ),
    running(
      '__setstate__ that does something else',
      {
        members:
          '  def __setstate__(self: __torch__.forged.Net,\n    state: Tensor) -> NoneType:\n    _0 = torch.print(state)\n    return None\n',
      },
      /__setstate__, which runs while the archive is loaded/,
    ),
    running(
      '__setstate__ that calls another object',
      {
        members:
          '  def __setstate__(self: __torch__.forged.Net,\n    state: __torch__.other.Evil) -> NoneType:\n    _0 = (state).run()\n    return None\n',
      },
      /__setstate__/,
    ),
    running('operators of an unknown namespace', { forward: first('_0 = ops.evil.run(x)') }, /namespace evil/),
    running(
      'a custom class',
      { members: '  a : __torch__.torch.classes.evil.Thing\n' },
      /custom class torch\.classes\.evil/,
    ),
    endless('an endless loop', {
      forward: first('i = 0\n_0 = True\nwhile _0:\n  i = torch.add(i, 1)\n  _0 = torch.gt(i, -1)'),
    }),
    running(
      'a loop of 10^10 turns',
      { forward: first('i = 0\nfor j in range(10000000000):\n  i = torch.add(i, 1)') },
      /loop of more turns than any classifier takes/,
    ),
    running(
      'a loop to a number of its own',
      {
        members: '  n : int\n',
        attributes: { n: pickle.int(10 ** 12) },
        forward: first('i = 0\nfor j in range(self.n):\n  i = torch.add(i, 1)'),
      },
      /loop of more turns than any classifier takes/,
    ),
    running(
      'loops in loops',
      {
        forward: first(
          'i = 0\nfor a in range(10000):\n  for b in range(10000):\n    for c in range(10000):\n      i = torch.add(i, 1)',
        ),
      },
      /more steps than any classifier/,
    ),
    running(
      'loops of tensors',
      {
        forward: `    i = x\n    for a in range(1000):\n      for b in range(1000):\n        i = torch.relu(i)\n    return torch.matmul(torch.mean(i, [2, 3]), self.weight)`,
      },
      /more steps than any classifier/,
    ),
    endless('loops of tensors over pixels', {
      forward: `    i = torch.mean(x, [2, 3])
    for a in range(torch.size(x, 2)):
      for b in range(torch.size(x, 3)):
        i = torch.relu(i)
    return torch.matmul(i, self.weight)`,
    }),
    running(
      'calls that double',
      {
        before: [
          'def f0(a: int) -> int:\n  return torch.add(a, 1)\n',
          ...Array.from(
            { length: 40 },
            (_, i) =>
              `def f${i + 1}(a: int) -> int:\n  return torch.add(__torch__.forged.f${i}(a), __torch__.forged.f${i}(a))\n`,
          ),
        ].join(''),
        forward: first('_0 = __torch__.forged.f40(1)'),
      },
      /more steps than any classifier/,
    ),
    refused(
      'a function that calls itself',
      forge({
        before: 'def f(a: int) -> int:\n  return __torch__.forged.f(a)\n',
        forward: first('_0 = __torch__.forged.f(1)'),
      }),
      /recursively/,
      'NOT_TORCHSCRIPT',
    ),
    running(
      'a class that contains itself',
      {
        before: 'class A(Module):\n  __parameters__ = []\n  __buffers__ = []\n  a : __torch__.forged.A\n',
        members: '  a : __torch__.forged.A\n',
      },
      /class forged\.A that contains itself/,
    ),
    running(
      '100,000 brackets',
      { forward: `    return ${'('.repeat(100_000)}x${')'.repeat(100_000)}` },
      /nests expressions/,
    ),
    running('a sum of 100,000 terms', { forward: `    return x${' + x'.repeat(100_000)}` }, /expression longer/),
    running(
      '226 GB of zeros',
      { forward: '    return torch.matmul(torch.mean(torch.zeros([1, 3, 140000, 140000]), [2, 3]), self.weight)' },
      /enormous size \(aten::zeros/,
    ),
    running('a resize', { forward: first('_0 = torch.resize_(x, [56500000000])') }, /operator aten::resize_/),
    running(
      'a list of 10^12 elements',
      {
        forward:
          '    _0 = torch.mul([0], 1000000000000)\n    return torch.add(torch.matmul(torch.mean(x, [2, 3]), self.weight), torch.len(_0))',
      },
      /enormous size \(aten::mul/,
    ),
    // -- pickles
    rigged(
      'a tensor beyond its storage',
      { weight: pickle.tensor('0', 15, [3, 5_000_000], [5, 1]) },
      /reaches beyond its storage of 15 elements/,
    ),
    rigged(
      'a storage beyond its member',
      { weight: pickle.tensor('0', 1_500_000_000, [3, 5], [5, 1]) },
      /6000000000 bytes, but there are 60/,
    ),
    rigged(
      '226 GB out of one element',
      { weight: pickle.tensor('0', 15, [56_500_000_000, 1], [0, 0]) },
      /describes tensors of 210\.5 GB/,
    ),
    rigged(
      'sizes that overflow',
      { weight: pickle.tensor('0', 15, [0, 2 ** 40, 2 ** 40, 2 ** 40], [0, 0, 0, 0]) },
      /more than any memory holds/,
    ),
    rigged('a negative stride', { weight: pickle.tensor('0', 15, [3, 5], [-5, 1]) }, /impossible sizes or strides/),
    rigged(
      'a negative offset',
      { weight: pickle.tensor('0', 15, [3, 5], [5, 1], -100) },
      /impossible sizes or strides/,
    ),
    rigged(
      'a storage that is not there',
      { weight: pickle.tensor('7', 15, [3, 5], [5, 1]) },
      /storage 7, which is not there/,
    ),
    rigged(
      'a number for a tensor',
      { attributes: { weight: pickle.int(4) } },
      /weight is of another type than the Tensor/,
    ),
    rigged(
      'a function of Python',
      {
        constants: pickle.whole(
          pickle.tuple(pickle.call(pickle.global('os', 'system'), pickle.text(`touch ${canary}`))),
        ),
      },
      /calls os\.system/,
    ),
    rigged(
      'a number for a function',
      { constants: pickle.whole(pickle.tuple(Buffer.concat([pickle.int(77_777), pickle.tuple(), Buffer.from('R')]))) },
      /calls what is no function/,
    ),
    rigged(
      'a list that contains itself',
      { constants: pickle.whole(Buffer.from([0x5d, 0x71, 0, 0x68, 0, 0x61, 0x85])) },
      /contains itself/,
    ),
    rigged(
      'values nested two million deep',
      { constants: pickle.whole(nested(2_000_000)) },
      /nested more than 256 deep/,
    ),
    rigged('values that double', { constants: pickle.whole(doubled(60)) }, /more values than any model/),
    rigged(
      'a pickle that takes what is not there',
      { constants: pickle.whole(Buffer.from('R')) },
      /takes more values than it has made/,
    ),
    rigged('an instruction of another pickle', { constants: pickle.whole(Buffer.from('i')) }, /instruction 0x69/),
    rigged(
      'a custom class in a pickle',
      {
        constants: pickle.whole(
          pickle.tuple(pickle.object('__torch__.torch.classes.evil', 'Thing', { a: pickle.none })),
        ),
      },
      /custom class torch\.classes\.evil/,
    ),
  ];
}
