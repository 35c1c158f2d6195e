/**
 * The vocabulary in which methods are written. Values are symbolic: a method runs once and records steps, which native
 * code then runs for every batch.
 */
export { Value, type Axis } from './value.js';
export { Run, SymbolicModel } from './model.js';
export { add, div, greater, maximum, minimum, mul, sub } from './arithmetic.js';
export {
  abs,
  clamp,
  contract,
  exp,
  eyeLike,
  grad,
  highest,
  log,
  lowest,
  max,
  mean,
  min,
  narrow,
  neg,
  power,
  relu,
  rename,
  scaleToUnit,
  select,
  sigmoid,
  softmax,
  split,
  sqrt,
  square,
  stack,
  sum,
  tanh,
  top,
  transpose,
  upsample,
  zeroSmallest,
} from './vocabulary.js';
export { accumulate, concatenate, constant, iterate, noise, take, type Sample } from './loops.js';
