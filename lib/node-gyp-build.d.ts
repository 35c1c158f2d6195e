/** The package ships no types. */
declare module 'node-gyp-build' {
  /** Loads the addon below a package's folder: its own build, else a prebuild. */
  export default function load(packageFolder: string): unknown;
}
