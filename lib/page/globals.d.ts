import type { Sample } from './state.js';

declare global {
  /** The pictures that come with the page; the build puts them in (scripts/build-page.mjs). */
  const SAMPLES: readonly Sample[];
}

declare module '*.css' {}
