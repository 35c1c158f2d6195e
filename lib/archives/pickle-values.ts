/** What a pickle would make: values that are described, never made. */

/** A storage: elements of one type that lie in a member of the archive. */
export interface Storage {
  readonly kind: 'storage';
  /** Its member lies at `data/KEY`. */
  readonly key: string;
  /** As PyTorch names it, such as `FloatStorage`. */
  readonly type: string;
  readonly elements: number;
  /** Bytes of an element. */
  readonly width: number;
}

export interface Tensor {
  readonly kind: 'tensor';
  readonly storage: Storage;
  /** Of its first element in the storage, in elements; as its strides. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

export interface List {
  readonly kind: 'list';
  readonly items: Value[];
  weight: number;
  depth: number;
  /** Once it is part of something else nothing may be added: that is how a thing would come to contain itself. */
  sealed: boolean;
}

export interface Dict {
  readonly kind: 'dict';
  /** Keys and values in turn. */
  readonly items: Value[];
  weight: number;
  depth: number;
  sealed: boolean;
}

export interface Compound {
  readonly kind: 'tuple' | 'object';
  readonly items: readonly Value[];
  readonly weight: number;
  readonly depth: number;
}

export type Value =
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
    /** The class or function that it names and may not; `isRoot` where what it makes is all that the pickle holds. */
    readonly refused: { readonly name: string; readonly isRoot: boolean } | null = null,
  ) {
    super(what);
  }
}

const DEEPEST = 256;
/** Values of the whole, those that are shared counted wherever they appear. */
const HEAVIEST = 50_000_000;

export function weightOf(value: Value): number {
  return 'weight' in value ? value.weight : 1;
}

export function depthOf(value: Value): number {
  return 'depth' in value ? value.depth : 1;
}

/** @throws PickleFault for more than any model holds */
export function bearable({ weight, depth }: { readonly weight: number; readonly depth: number }): void {
  if (depth > DEEPEST) throw new PickleFault(`holds values nested more than ${DEEPEST} deep`);
  if (weight > HEAVIEST) throw new PickleFault('holds more values than any model');
}
