/**
 * Builds the service's page (lib/page) by Vite, and the pictures that come with it. Everything lies flat in one folder,
 * which the service reads as it starts.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PACKAGE_ROOT } from '../lib/setup/stamps.mjs';

const SOURCES = path.join(PACKAGE_ROOT, 'lib/page');
export const PICTURES = path.join(PACKAGE_ROOT, 'models/demo');

/** What index.json does not say: what there is to see, and whose it is (models/demo/photos/CREDITS.md). */
const PHOTOS = [
  { id: 'cat', title: 'Face of a tabby cat', credit: 'Chelsea, by Stefan van der Walt (CC0)' },
  { id: 'coffee', title: 'Cup of espresso', credit: 'Espresso of Pikolo Espresso Bar, by Rachel Michetti (CC0)' },
  { id: 'tripod', title: 'Man behind a camera on a tripod', credit: 'Cameraman, by Lav Varshney (CC0)' },
  { id: 'palace', title: 'Tower of the Summer Palace', credit: 'Summer Palace, by danielbuechele (CC BY 2.0)' },
];
const SHAPES = [
  { id: 'disc-and-flower', title: 'Striped disc and rayed flower' },
  { id: 'star-and-hexagon', title: 'Wavy star and speckled hexagon' },
];
const SHAPES_CREDIT = 'Drawn by sightline (models/shapes.py), Apache-2.0';

/** @param {string} out a folder that there is not yet */
export async function buildPage(out) {
  // Packages are there only once the set-up has installed them.
  const { build } = await import('vite');
  mkdirSync(out, { recursive: true });
  const samples = await writeSamples(out);
  /** @type {import('vite').InlineConfig} */
  const shared = {
    configFile: false,
    root: SOURCES,
    logLevel: 'warn',
    define: { SAMPLES: JSON.stringify(samples) },
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  };
  copyFileSync(path.join(SOURCES, 'icon.svg'), path.join(out, 'icon.svg'));
  const parts = mkdtempSync(path.join(tmpdir(), 'sightline-page-'));
  try {
    await build({
      ...shared,
      // The page lies at `/`, perhaps below a path, and its files at `page/`.
      base: './',
      publicDir: false,
      build: {
        outDir: parts,
        assetsDir: 'page',
        assetsInlineLimit: 0,
        emptyOutDir: false,
        modulePreload: false,
        target: 'es2023',
      },
    });
    for (const name of ['index.html', ...readdirSync(path.join(parts, 'page')).map((file) => `page/${file}`)]) {
      copyFileSync(path.join(parts, name), path.join(out, path.basename(name)));
    }
    await build({
      ...shared,
      build: {
        outDir: parts,
        emptyOutDir: false,
        target: 'es2023',
        cssCodeSplit: false,
        lib: { entry: path.join(SOURCES, 'view-entry.ts'), formats: ['iife'], name: 'view', fileName: 'view' },
      },
    });
    writeFileSync(path.join(out, 'view.html'), oneFile(parts));
  } finally {
    rmSync(parts, { recursive: true, force: true });
  }
}

/** Script and style within the page, each allowed by its hash and nothing else. @param {string} parts */
function oneFile(parts) {
  const read = (/** @type {string} */ ending) => {
    const name = readdirSync(parts).find((file) => file.endsWith(ending)) ?? '';
    return readFileSync(path.join(parts, name), 'utf8').trim();
  };
  const script = read('.js');
  const style = read('.css');
  if (script.includes('</script')) throw new Error('The script of view.html would end before its end.');
  const hash = (/** @type {string} */ text) => `sha256-${createHash('sha256').update(text).digest('base64')}`;
  return readFileSync(path.join(SOURCES, 'view.html'), 'utf8')
    .replace("'SCRIPT'", () => `'${hash(script)}'`)
    .replace("'STYLE'", () => `'${hash(style)}'`)
    .replace('</head>', () => `<style>${style}</style></head>`)
    .replace(
      '</body>',
      () => `<script type="application/json" id="view">{"view":"here"}</script><script>${script}</script></body>`,
    );
}

/** @param {string} out */
async function writeSamples(out) {
  const { default: sharp } = await import('sharp');
  const listed = (/** @type {string} */ file) => JSON.parse(readFileSync(path.join(PICTURES, file), 'utf8'));
  /** @type {{ file: string, label?: string, objects?: { label: string }[] }[]} */
  const photos = listed('photos/index.json');
  /** @type {typeof photos} */
  const shapes = listed('index.json');
  const samples = [
    ...PHOTOS.map((photo) => ({ ...photo, source: `photos/${photo.id}.jpg`, file: `${photo.id}.jpg`, list: photos })),
    ...SHAPES.map((shape) => ({
      ...shape,
      credit: SHAPES_CREDIT,
      source: `${shape.id}.png`,
      file: `${shape.id}.webp`,
      list: shapes,
    })),
  ];
  const written = [];
  for (const { id, title, credit, source, file, list } of samples) {
    const from = path.join(PICTURES, source);
    const to = path.join(out, file);
    if (file.endsWith('.jpg')) copyFileSync(from, to);
    else await sharp(from).webp({ quality: 90 }).toFile(to);
    const thumb = `${id}-thumb.webp`;
    await sharp(from).resize(128, 128, { fit: 'cover' }).webp({ quality: 80 }).toFile(path.join(out, thumb));
    const { width, height } = await sharp(from).metadata();
    const known = list.find((each) => path.parse(each.file).name === id);
    const labels = known?.label === undefined ? (known?.objects ?? []).map(({ label }) => label) : [known.label];
    written.push({ id, title, credit, file, thumb, labels, width, height });
  }
  return written;
}
