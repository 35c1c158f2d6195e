import type { ProgramArgument } from '../../engine/exported-program.js';
import { printable } from '../refusal.js';
import type { Fields } from './fields.js';

/** Codes of torch.export's schema, which are not those of LibTorch; names of safetensors. */
export const DTYPES: readonly (string | null)[] = [
  null,
  'U8',
  'I8',
  'I16',
  'I32',
  'I64',
  'F16',
  'F32',
  'F64',
  null,
  'C64',
  'C128',
  'BOOL',
  'BF16',
];
const STRIDED = 7;
const MEMORY_FORMATS = [null, 'contiguous', 'channels-last', 'channels-last-3d', 'preserve'] as const;
const NONE: ProgramArgument = { kind: 'none' };

/** @throws SightlineError UNTRUSTED_ARCHIVE for a kind that is unknown or has no place in a classifier */
export function readArgument(fields: Fields): ProgramArgument {
  const [kind, value] = fields.choice();
  const list = (read: (each: Fields) => ProgramArgument): ProgramArgument => ({
    kind: 'list',
    items: value.list().map(read),
  });
  switch (kind) {
    case 'as_none':
      return NONE;
    case 'as_tensor':
      return named(value);
    case 'as_tensors':
    case 'as_nested_tensors':
      return list(named);
    case 'as_optional_tensor':
      return optionalTensor(value);
    case 'as_optional_tensors':
      return list(optionalTensor);
    case 'as_int':
      return int(value);
    case 'as_ints':
      return list(int);
    case 'as_float':
      return float(value);
    case 'as_floats':
      return list(float);
    case 'as_bool':
      return bool(value);
    case 'as_bools':
      return list(bool);
    case 'as_string':
      return { kind: 'text', text: value.text() };
    case 'as_strings':
      return list((each) => ({ kind: 'text', text: each.text() }));
    case 'as_sym_int':
    case 'as_sym_float':
    case 'as_sym_bool':
      return symbolic(value);
    case 'as_sym_ints':
    case 'as_sym_floats':
    case 'as_sym_bools':
      return list(symbolic);
    case 'as_scalar_type':
      return { kind: 'dtype', text: readDtype(value) };
    case 'as_memory_format': {
      const format = MEMORY_FORMATS[value.int()];
      if (!format) throw value.wrong('an unknown memory format');
      return { kind: 'memory-format', text: format };
    }
    case 'as_layout':
      if (value.int() !== STRIDED) throw value.wrong('a layout of tensors other than strided');
      return NONE;
    case 'as_device':
      return { kind: 'device', text: value.at('type').text() };
    default:
      throw fields.wrong(`an argument of the kind ${printable(kind)}, which no image classifier needs`);
  }
}

/** Safetensors' name of a kind of numbers. */
export function readDtype(fields: Fields): string {
  const name = DTYPES[fields.int()];
  if (!name) throw fields.wrong('a kind of numbers that is not supported');
  return name;
}

function named(fields: Fields): ProgramArgument {
  return { kind: 'value', text: fields.at('name').text() };
}

function optionalTensor(fields: Fields): ProgramArgument {
  const [kind, value] = fields.choice();
  if (kind === 'as_none') return NONE;
  if (kind !== 'as_tensor') throw fields.wrong(`${printable(kind)} where a tensor belongs`);
  return named(value);
}

function int(fields: Fields): ProgramArgument {
  return { kind: 'int', number: fields.int() };
}

function float(fields: Fields): ProgramArgument {
  return { kind: 'float', number: fields.float() };
}

function bool(fields: Fields): ProgramArgument {
  return { kind: 'bool', number: fields.bool() ? 1 : 0 };
}

/** A number that the program computes, by name, or one that is written down. */
function symbolic(fields: Fields): ProgramArgument {
  const [kind, value] = fields.choice();
  if (kind === 'as_name') return { kind: 'value', text: value.text() };
  if (kind === 'as_int') return int(value);
  if (kind === 'as_float') return float(value);
  if (kind === 'as_bool') return bool(value);
  throw fields.wrong(`${printable(kind)} where a number belongs`);
}
