/** What differs between a program and the archive of the same model; differences are relative to the largest value. */
export interface Compared {
  readonly scores: number;
  /** Of the archive. */
  readonly features: number;
  /** Names of the archive's features that the program has not. */
  readonly missing: readonly string[];
  /** The largest difference of features that both have by one name. */
  readonly worstFeature: number;
  readonly sites: number;
  readonly areSitesSame: boolean;
  readonly isTargetLayerSame: boolean;
  /** Methods that apply to the archive alone. */
  readonly lost: readonly string[];
  /** How many maps were compared. */
  readonly maps: number;
  readonly worst: { readonly method: string; readonly difference: number };
}

/** Compares programs, given by their paths, with the archive of test/parity of that name. */
export function compare(name: string, programs: readonly string[]): Promise<readonly Compared[]>;

/** Compares programs with the skeleton of an architecture, whose weights are in `checkpoint`. */
export function compareSkeleton(
  architecture: string,
  checkpoint: string,
  programs: readonly string[],
): Promise<readonly Compared[]>;
