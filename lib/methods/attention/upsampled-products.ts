import { constant, contract, rename, transpose, type Value } from '../../symbolic/index.js';

/**
 * Grids in a basis in which their products are those of the upsampled maps. With bilinear upsampling `U`, maps of an
 * image's size have the products `<U a, U b> = a' (U'U) b`; with `U'U = L L'`, those of `L'a` and `L'b`: a few hundred
 * values stand for fifty thousand, exactly. Rows and columns are upsampled apart, so each has its own small `L`.
 */
export interface ProductBasis {
  /** Grids [..., height, width] brought into the basis. */
  readonly into: (grids: Value) => Value;
  /** And back. */
  readonly outOf: (grids: Value) => Value;
}

/** For grids of `from` places, [height, width], upsampled to `to`. */
export function productBasis(from: readonly [number, number], to: readonly [number, number]): ProductBasis {
  const rows = axisBasis(from[0], to[0]);
  const columns = axisBasis(from[1], to[1]);
  return {
    into: (grids) => alongBoth(grids, rows.into, columns.into),
    outOf: (grids) => alongBoth(grids, rows.outOf, columns.outOf),
  };
}

/** Rows and columns of [..., height, width], multiplied each by its matrix from the right. */
function alongBoth(grids: Value, rows: Float32Array, columns: Float32Array): Value {
  return transpose(along(along(grids, columns, 'width'), rows, 'height'), grids.axes);
}

function along(grids: Value, matrix: Float32Array, axis: 'height' | 'width'): Value {
  const size = Math.sqrt(matrix.length);
  return rename(contract(grids, constant(grids, matrix, { [axis]: size, into: size }), axis), 'into', axis);
}

/** One axis's L, row-major [from, from], and its inverse: they multiply the axis from the right. */
export interface AxisBasis {
  readonly into: Float32Array;
  readonly outOf: Float32Array;
}

/** For one axis of `from` places upsampled to `to >= from`, half-pixel centers. */
export function axisBasis(from: number, to: number): AxisBasis {
  const factor = cholesky(gram(from, to), from);
  return { into: Float32Array.from(factor), outOf: Float32Array.from(inverseOfLower(factor, from)) };
}

/** U'U of bilinear upsampling. */
function gram(from: number, to: number): Float64Array {
  const products = new Float64Array(from * from);
  for (let i = 0; i < to; i++) {
    const place = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    const near = Math.min(Math.floor(place), from - 1);
    const far = Math.min(near + 1, from - 1);
    const share = place - near;
    const weights = near === far ? [[near, 1] as const] : [[near, 1 - share] as const, [far, share] as const];
    for (const [a, weightOfA] of weights) {
      for (const [b, weightOfB] of weights) products[a * from + b]! += weightOfA * weightOfB;
    }
  }
  return products;
}

function cholesky(matrix: Float64Array, size: number): Float64Array {
  const factor = new Float64Array(size * size);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column <= row; column++) {
      let rest = matrix[row * size + column]!;
      for (let k = 0; k < column; k++) rest -= factor[row * size + k]! * factor[column * size + k]!;
      factor[row * size + column] = row === column ? Math.sqrt(rest) : rest / factor[column * size + column]!;
    }
  }
  return factor;
}

function inverseOfLower(factor: Float64Array, size: number): Float64Array {
  const inverse = new Float64Array(size * size);
  for (let column = 0; column < size; column++) {
    for (let row = column; row < size; row++) {
      let rest = row === column ? 1 : 0;
      for (let k = column; k < row; k++) rest -= factor[row * size + k]! * inverse[k * size + column]!;
      inverse[row * size + column] = rest / factor[row * size + row]!;
    }
  }
  return inverse;
}
