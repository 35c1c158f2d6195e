/** `sightline/bench`: measures models and methods on this machine. */
export { bench, DEFAULT_METHODS, type BenchOptions, type BenchReport } from './bench.js';
