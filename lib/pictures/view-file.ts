/** A class, and its score on the picture. */
export interface ViewClass {
  readonly index: number;
  readonly label: string;
  readonly score: number;
}

/** Maps over their pictures, as one HTML file holds them. */
export interface ViewFile {
  readonly pictures: readonly {
    readonly name: string;
    readonly type: string;
    readonly b64: string;
    /** In pixels, as the boxes of its panels count. */
    readonly width: number;
    readonly height: number;
  }[];
  readonly panels: readonly ViewPanel[];
  readonly look: {
    readonly view: string;
    readonly opacity: number;
    readonly threshold: number;
    readonly colormap: string;
  };
}

/** One map of a file, and how it was made. */
export interface ViewPanel {
  /** The number of its picture. */
  readonly picture: number;
  readonly model: string;
  readonly method: string;
  readonly family: 'cam' | 'attention' | 'gradients' | 'custom';
  readonly isClassSpecific: boolean;
  /** Whether the scores of predictions are probabilities. */
  readonly isProbability: boolean;
  readonly target: ViewClass & { readonly against?: ViewClass };
  readonly predictions: readonly ViewClass[];
  readonly state: 'ok' | 'flat' | 'nan';
  readonly peak: { readonly row: number; readonly column: number };
  readonly shape: readonly [height: number, width: number];
  /** float32 in little-endian order. */
  readonly b64: string;
  readonly box: { readonly left: number; readonly top: number; readonly width: number; readonly height: number };
  /** What repeats it. */
  readonly command: string;
}

/** Where the page's build leaves room for the view. */
export const VIEW_PLACE = '{"view":"here"}';

/** A page of one file, that asks nobody for anything. @param template the built `view.html` */
export function viewHtml(template: string, view: ViewFile): string {
  // Within a script element only `<` could end it. A function, since `$&` in a text would mean something.
  return template.replace(VIEW_PLACE, () => JSON.stringify(view).replaceAll('<', '\\u003c'));
}
