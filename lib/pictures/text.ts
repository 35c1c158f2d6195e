import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import sharp from 'sharp';

import { stamp, type Raster, type Rgb } from './canvas.js';

/** How text looks. `size` is the font's em in pixels. */
export interface TextStyle {
  readonly size: number;
  readonly weight?: 'normal' | 'bold';
}

/**
 * One rendered line: coverage 0..255, row-major. `width` ends at the ink, `height` is the same for every text of one
 * style (from above the accents of capitals to below the descenders), so lines placed at one top share their baseline.
 */
export interface TextLine {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

// Whole names and this very call, as tools that gather the files of a program (@vercel/nft) understand no others here.
const FONTS = {
  normal: { file: fileURLToPath(import.meta.resolve('dejavu-fonts-ttf/ttf/DejaVuSans.ttf')), family: 'DejaVu Sans' },
  bold: {
    file: fileURLToPath(import.meta.resolve('dejavu-fonts-ttf/ttf/DejaVuSans-Bold.ttf')),
    family: 'DejaVu Sans Bold',
  },
} as const;
const FONT_CONFIGURATION = fileURLToPath(import.meta.resolve('dejavu-fonts-ttf/fontconfig/57-dejavu-sans.conf'));

/** Longer texts are cut before they are drawn: cairo draws nothing wider than 32,767 pixels. */
const MAX_CHARACTERS = 300;

/**
 * sharp crops a text to its ink, which would put "on" higher than "Og". These marks, drawn fully transparent before
 * every line, give each the same height: they reach from above an accented capital to the foot of the bar.
 */
const STRUT = '<span alpha="1">|Å</span>';

const rendered = new Map<string, Promise<TextLine>>();
const KEPT_LINES = 512;

/**
 * Draws one line of text with the bundled DejaVu Sans, so that it needs no font of the machine; where the machine has
 * fonts, they fill in for scripts that DejaVu lacks. Markup in the text is shown as it is written.
 */
export function renderLine(text: string, style: TextStyle): Promise<TextLine> {
  const key = `${style.weight ?? 'normal'} ${style.size} ${text}`;
  const known = rendered.get(key);
  if (known) return known;
  const line = draw(cleaned(text), style);
  rendered.set(key, line);
  // A failure is not remembered; the oldest line makes room.
  line.catch(() => rendered.delete(key));
  if (rendered.size > KEPT_LINES) rendered.delete(rendered.keys().next().value!);
  return line;
}

/**
 * Breaks a text into at most `maxLines` lines of at most `maxWidth` pixels, at spaces where it can, and ends the last
 * one with an ellipsis where words had to be left out. Empty text gives no lines.
 */
export async function renderParagraph(
  text: string,
  style: TextStyle & { maxWidth: number; maxLines?: number },
): Promise<TextLine[]> {
  const lines: TextLine[] = [];
  let rest = cleaned(text).trim();
  for (let left = style.maxLines ?? 2; rest !== '' && left > 0; left--) {
    const whole = await renderLine(rest, style);
    if (whole.width <= style.maxWidth) return [...lines, whole];
    const cut = await longestFitting(rest, style, left === 1 ? '…' : '');
    lines.push(await renderLine(cut.shown, style));
    rest = rest.slice(cut.taken).trim();
  }
  return lines;
}

/** Height in pixels of `count` lines of a style, as `drawLines` sets them. */
export function linesHeight(lines: readonly TextLine[]): number {
  return lines.reduce((sum, line) => sum + line.height, 0);
}

/** Stamps lines one below the other; `left` and `width` give the column within which they are aligned. */
export function drawLines(
  canvas: Raster,
  lines: readonly TextLine[],
  place: { left: number; top: number; width: number; align?: 'left' | 'center' | 'right'; color: Rgb },
): void {
  let top = place.top;
  for (const line of lines) {
    const free = place.width - line.width;
    const shift = place.align === 'center' ? Math.round(free / 2) : place.align === 'right' ? free : 0;
    stamp(canvas, line, place.left + shift, top, place.color);
    top += line.height;
  }
}

async function draw(text: string, style: TextStyle): Promise<TextLine> {
  if (text.trim() === '') return { data: new Uint8Array(0), width: 0, height: 0 };
  const { file, family } = FONTS[style.weight ?? 'normal'];
  const { data, info } = await quietly(() =>
    sharp({
      text: {
        text: STRUT + escaped(text),
        font: `${family} ${style.size}`,
        fontfile: file,
        dpi: 72,
        rgba: true,
      },
    })
      .raw()
      .toBuffer({ resolveWithObject: true }),
  );
  return inkOf(data, info.width, info.height);
}

/** The alpha channel, cut at the left and right to what is visible; the transparent strut falls away with it. */
function inkOf(rgba: Uint8Array, width: number, height: number): TextLine {
  let first = width;
  let last = -1;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      if (rgba[4 * (y * width + x) + 3]! > 0) {
        first = Math.min(first, x);
        last = x;
        break;
      }
    }
  }
  const inked = Math.max(0, last - first + 1);
  const data = new Uint8Array(inked * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < inked; x++) data[y * inked + x] = rgba[4 * (y * width + first + x) + 3]!;
  }
  return { data, width: inked, height };
}

/**
 * The longest beginning that fits with `ending` after it: up to a space if one lies in its second half, else up to any
 * character.
 */
async function longestFitting(
  text: string,
  style: TextStyle & { maxWidth: number },
  ending: string,
): Promise<{ shown: string; taken: number }> {
  const characters = [...text];
  let fits = 1;
  let tooMany = characters.length + 1;
  while (tooMany - fits > 1) {
    const tried = (fits + tooMany) >> 1;
    const line = await renderLine(characters.slice(0, tried).join('') + ending, style);
    if (line.width <= style.maxWidth) fits = tried;
    else tooMany = tried;
  }
  const beginning = characters.slice(0, fits).join('');
  const space = text[beginning.length] === ' ' ? beginning.length : beginning.lastIndexOf(' ');
  const kept = space >= beginning.length / 2 ? beginning.slice(0, space) : beginning;
  return { shown: kept.trimEnd() + ending, taken: kept.length };
}

/**
 * One line of well-formed text: control characters and line breaks become spaces, lone surrogates the replacement mark.
 */
function cleaned(text: string): string {
  const wellFormed = Buffer.from(text.slice(0, MAX_CHARACTERS), 'utf8').toString('utf8');
  // Pango refuses a markup with control characters in it.
  return wellFormed.replace(/[\u0000-\u001f\u007f\u2028\u2029\ufffe\uffff]+/g, ' ');
}

function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

let configured = false;

/**
 * On a machine without any font configuration, such as a slim container, fontconfig complains on stderr at its first
 * use, though the bundled font is found all the same. For that first use it is given one of the font's own
 * configuration files; the variable is taken back at once, so that child processes do not inherit it.
 */
async function quietly<T>(work: () => Promise<T>): Promise<T> {
  const { env } = process;
  const needed =
    !configured &&
    process.platform === 'linux' &&
    !env.FONTCONFIG_FILE &&
    !env.FONTCONFIG_PATH &&
    !existsSync('/etc/fonts/fonts.conf');
  configured = true;
  if (!needed) return work();
  env.FONTCONFIG_FILE = FONT_CONFIGURATION;
  try {
    return await work();
  } finally {
    delete env.FONTCONFIG_FILE;
  }
}
