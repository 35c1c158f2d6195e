import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';

import { parseXml, XmlElement } from '@rgrove/parse-xml';

import { cut } from '../../support/cut.js';
import { SightlineError } from '../../support/errors.js';
import { firstLine, unreadable } from '../../support/files.js';
import { boxesObject, type BoxNumbers, type LabelledObject, type Labels, type ObjectForm } from './labelled-picture.js';
import { maskFileObject, type Color } from './mask-file.js';
import { inOneForm, type FoundObjects } from './object-form.js';

/** The classes of Pascal VOC by the number that they have in `SegmentationClass`, from 1. */
const CLASSES = [
  ...['aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable', 'dog'],
  ...['horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor'],
];

/** Whether a folder is laid out as Pascal VOC is. */
export async function isVocFolder(folder: string): Promise<boolean> {
  return (await isFolder(path.join(folder, 'Annotations'))) && (await isFolder(path.join(folder, 'JPEGImages')));
}

/**
 * Pascal VOC: each class of a picture once, with all its objects. The class's name is what is explained. A file's
 * pictures lie in `JPEGImages`, or beside it where there is no such folder; its masks in `SegmentationObject`, or else
 * `SegmentationClass`.
 *
 * @param source the folder that holds `Annotations`, or one file of annotations
 * @param form null: masks where all pictures have them, else boxes
 * @throws SightlineError INVALID_OPTION that names the file and what is wrong in it; FILE_NOT_FOUND
 */
export async function readVoc(source: string, form: ObjectForm | null): Promise<Labels> {
  const isFile = /\.xml$/i.test(source);
  const folder = isFile ? path.dirname(source) : path.join(source, 'Annotations');
  const files = isFile ? [source] : (await namesIn(folder)).map((name) => path.join(folder, name));
  const root = path.dirname(folder);
  const pictures = path.join(root, 'JPEGImages');
  const place: Place = {
    pictures: (await isFolder(pictures)) ? pictures : folder,
    ofObjects: await masksIn(path.join(root, 'SegmentationObject')),
    ofClasses: await masksIn(path.join(root, 'SegmentationClass')),
  };
  const found: FoundObjects[] = [];
  // One after the other: thousands of open files would be too many.
  for (const file of files.filter((name) => /\.xml$/i.test(name))) found.push(...(await readAnnotation(file, place)));
  if (found.length === 0) throw new SightlineError('INVALID_OPTION', `${source} lists no object.`);
  return inOneForm(found, form, source);
}

interface Place {
  readonly pictures: string;
  readonly ofObjects: Masks;
  readonly ofClasses: Masks;
}

interface Masks {
  readonly folder: string;
  readonly names: ReadonlySet<string>;
}

async function readAnnotation(file: string, { pictures, ofObjects, ofClasses }: Place): Promise<FoundObjects[]> {
  const wrong = (what: string): SightlineError => new SightlineError('INVALID_OPTION', `${file} ${what}.`);
  const root = await xmlOf(file);
  const filename = textOf(root, 'filename');
  if (root.name !== 'annotation' || filename === '') throw wrong('is no annotation of Pascal VOC: it has no filename');
  const classes = new Map<string, { readonly boxes: BoxNumbers[]; readonly numbers: number[] }>();
  for (const [at, object] of childrenOf(root, 'object').entries()) {
    const name = textOf(object, 'name');
    if (name === '') throw wrong(`has no name of object ${at + 1}`);
    const box = childrenOf(object, 'bndbox')[0];
    const [left, top, right, bottom] = ['xmin', 'ymin', 'xmax', 'ymax'].map((edge) => {
      const text = box === undefined ? '' : textOf(box, edge);
      const value = Number(text);
      if (text === '' || !Number.isFinite(value)) {
        throw wrong(`has no number for ${edge} of object ${at + 1}, ${cut(name)}`);
      }
      return value;
    }) as [number, number, number, number];
    if (right < left || bottom < top) {
      throw wrong(`has a box of object ${at + 1}, ${cut(name)}, that ends before it begins`);
    }
    const same = classes.get(name) ?? { boxes: [], numbers: [] };
    // The first pixel is 1, and the last one belongs to the box.
    same.boxes.push([left - 1, top - 1, right - left + 1, bottom - top + 1]);
    same.numbers.push(at + 1);
    classes.set(name, same);
  }
  const mask = `${path.basename(file, path.extname(file))}.png`;
  return [...classes].map(([target, { boxes, numbers }]) => ({
    image: path.join(pictures, filename),
    target,
    boxes: boxesObject(boxes),
    mask: maskOf(mask, target, numbers, ofObjects, ofClasses),
  }));
}

function maskOf(
  mask: string,
  target: string,
  numbers: readonly number[],
  ofObjects: Masks,
  ofClasses: Masks,
): LabelledObject | null {
  if (ofObjects.names.has(mask)) return maskFileObject(path.join(ofObjects.folder, mask), numbers.map(vocColor));
  const number = CLASSES.indexOf(target) + 1;
  return number > 0 && ofClasses.names.has(mask)
    ? maskFileObject(path.join(ofClasses.folder, mask), [vocColor(number)])
    : null;
}

/** The color of a number in masks of Pascal VOC: its bits, by turns for red, green and blue, the lowest weigh most. */
export function vocColor(number: number): Color {
  const color = [0, 0, 0] as [number, number, number];
  for (let bit = 0; bit < 24; bit++) {
    if (((number >> bit) & 1) === 1) color[bit % 3]! |= 128 >> Math.floor(bit / 3);
  }
  return color;
}

async function xmlOf(file: string): Promise<XmlElement> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  try {
    return parseXml(text).root!;
  } catch (cause) {
    throw new SightlineError('INVALID_OPTION', `${file} is no XML: ${cut(firstLine(cause))}.`, { cause });
  }
}

function childrenOf(element: XmlElement, name: string): XmlElement[] {
  return element.children.filter((child): child is XmlElement => child instanceof XmlElement && child.name === name);
}

const textOf = (element: XmlElement, name: string): string => childrenOf(element, name)[0]?.text.trim() ?? '';

async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw unreadable(folder, cause);
  });
  return names.filter((name) => !name.startsWith('.')).sort();
}

async function masksIn(folder: string): Promise<Masks> {
  return { folder, names: new Set((await isFolder(folder)) ? await namesIn(folder) : []) };
}

async function isFolder(folder: string): Promise<boolean> {
  return stat(folder).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
