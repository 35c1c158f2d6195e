import { describeParity } from '../support/parity.js';

// Relative to the largest value of each tensor.
describeParity('cpu', 1e-5);
