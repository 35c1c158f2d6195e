/**
 * The vocabulary in which methods are written. Values are symbolic: a method runs once and records steps, which native
 * code then runs for every batch.
 */
export { Value, type Axis } from './value.js';
export { Run, RULES, SymbolicModel, type Normalisation, type Rule, type RunOptions, type ScoreOf } from './model.js';
export { add, div, maximum, minimum, mul, sub, type Operand } from './arithmetic.js';
export { equal, greater, greaterEqual, less, lessEqual, not, oneHot, where } from './conditions.js';
export { contract } from './contraction.js';
export {
  abs,
  attentionFlow,
  blur,
  clamp,
  clusterMasks,
  cos,
  crop,
  detach,
  diagonal,
  exp,
  expandLike,
  eyeLike,
  flip,
  floor,
  fullLike,
  gather,
  grad,
  highest,
  kernelComponent,
  log,
  lowest,
  max,
  mean,
  min,
  narrow,
  neg,
  nonNegativeFactors,
  pick,
  power,
  principalComponent,
  realFromSpectrum,
  relu,
  rename,
  roll,
  scaleToUnit,
  select,
  sigmoid,
  sign,
  sin,
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
  variable,
  zeroSmallest,
  type Interpolation,
} from './vocabulary.js';
export { accumulate, concatenate, constant, iterate, noise, quotient, remainder, take, unravel, type LoopOptions, type Sample } from './loops.js';
