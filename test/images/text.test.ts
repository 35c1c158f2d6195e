import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';

import { createCanvas } from '../../lib/pictures/canvas.js';
import { drawLines, renderLine, renderParagraph, type TextLine } from '../../lib/pictures/text.js';

const style = { size: 16 };
const ink = (line: TextLine): number => line.data.reduce((sum, coverage) => sum + coverage, 0) / 255;

/** The first and the last row that hold ink. */
function inkedRows(line: TextLine): [number, number] {
  const rows = Array.from({ length: line.height }, (_, y) =>
    line.data.subarray(y * line.width, (y + 1) * line.width).some((coverage) => coverage > 64),
  );
  return [rows.indexOf(true), rows.lastIndexOf(true)];
}

describe('renderLine', () => {
  it('draws glyphs, wider for more of them and heavier in bold', async () => {
    const one = await renderLine('m', style);
    const three = await renderLine('mmm', style);
    expect(ink(one)).toBeGreaterThan(20);
    expect(three.width).toBeGreaterThan(2.5 * one.width);
    expect(ink(await renderLine('m', { size: 16, weight: 'bold' }))).toBeGreaterThan(1.2 * ink(one));
  });

  it('sets all texts of a size on one baseline', async () => {
    const lines = await Promise.all(['on', 'Hon', 'Ång', 'x'].map((text) => renderLine(text, style)));
    expect(new Set(lines.map((line) => line.height)).size).toBe(1);
    const [on, hon, , x] = lines as [TextLine, TextLine, TextLine, TextLine];
    expect(inkedRows(on)[1]).toBe(inkedRows(hon)[1]);
    expect(inkedRows(x)).toEqual(inkedRows(on));
    expect(inkedRows(hon)[0]).toBeLessThan(inkedRows(on)[0]);
  });

  it('shows markup as it is written', async () => {
    const plain = await renderLine('bold', style);
    const tagged = await renderLine('<b>bold</b>', style);
    expect(tagged.width).toBeGreaterThan(plain.width + 30);
    for (const text of ['a & b < c > d', '&amp;', '</span>', '"quoted" \'too\'']) {
      expect((await renderLine(text, style)).width).toBeGreaterThan(0);
    }
    // Five characters, not one ampersand.
    expect((await renderLine('&amp;', style)).width).toBeGreaterThan(2 * (await renderLine('&', style)).width);
  });

  it('stands line breaks, control characters, lone surrogates and endless texts', async () => {
    const line = await renderLine('a\nb', style);
    expect(line.height).toBe((await renderLine('a b', style)).height);
    expect(line.width).toBe((await renderLine('a b', style)).width);
    expect((await renderLine('a\u0000\u0007\ud800b', style)).width).toBeGreaterThan(10);
    expect((await renderLine('word '.repeat(10000), style)).width).toBeLessThan(32767);
    expect(await renderLine('  ', style)).toEqual({ data: new Uint8Array(0), width: 0, height: 0 });
  });
});

describe('on a machine without fonts', () => {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const run = promisify(execFile);
  /** Prints the widths of I and W and whether H and I differ; without a font every glyph is the same box. */
  const script = `
    import { renderLine } from './text.js';
    const [h, i, w] = await Promise.all(['H', 'I', 'W'].map((text) => renderLine(text, { size: 16 })));
    console.log(JSON.stringify({ differ: !Buffer.from(h.data).equals(Buffer.from(i.data)), i: i.width, w: w.width }));`;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sightline-'));
    for (const name of ['text', 'canvas']) {
      const source = await readFile(join(root, 'lib/pictures', `${name}.ts`), 'utf8');
      const { outputText } = ts.transpileModule(source, {
        compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
      });
      await writeFile(join(folder, `${name}.js`), outputText);
    }
    await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
    await writeFile(join(folder, 'main.js'), script);
    await writeFile(
      join(folder, 'fonts.conf'),
      '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig></fontconfig>',
    );
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  });

  function check({ stdout, stderr }: { stdout: string; stderr: string }): void {
    const { differ, i, w } = JSON.parse(stdout) as { differ: boolean; i: number; w: number };
    expect(differ).toBe(true);
    expect(i).toBeLessThanOrEqual(4);
    expect(w).toBeGreaterThan(12);
    expect(stderr).toBe('');
  }

  it('the bundled font is used when the font configuration knows no folder', async () => {
    check(
      await run(process.execPath, ['main.js'], {
        cwd: folder,
        env: { ...process.env, FONTCONFIG_FILE: join(folder, 'fonts.conf'), HOME: folder },
      }),
    );
  });

  // Hiding the machine's own fonts takes a mount namespace, which only root on Linux may make.
  it.skipIf(spawnSync('unshare', ['-m', 'true']).status !== 0)(
    'the bundled font is used, and fontconfig is silent, when there is no configuration at all',
    async () => {
      const { FONTCONFIG_FILE: _file, FONTCONFIG_PATH: _path, ...env } = process.env;
      const hidden =
        'for folder in /etc/fonts /usr/share/fonts; do [ -d $folder ] && mount -t tmpfs none $folder; done; exec "$0" main.js';
      check(
        await run('unshare', ['-m', 'sh', '-c', hidden, process.execPath], {
          cwd: folder,
          env: { ...env, HOME: folder },
        }),
      );
    },
  );
});

describe('renderParagraph', () => {
  it('breaks at spaces and stays within the width', async () => {
    const lines = await renderParagraph('West Highland white terrier', { ...style, maxWidth: 130, maxLines: 3 });
    expect(lines.length).toBe(2);
    for (const line of lines) expect(line.width).toBeLessThanOrEqual(130);
    expect(lines[0]!.width).toBe((await renderLine('West Highland', style)).width);
    expect(lines[1]!.width).toBe((await renderLine('white terrier', style)).width);
  });

  it('ends with an ellipsis what does not fit', async () => {
    const [line, ...more] = await renderParagraph('West Highland white terrier', {
      ...style,
      maxWidth: 130,
      maxLines: 1,
    });
    expect(more).toEqual([]);
    expect(line!.width).toBeLessThanOrEqual(130);
    expect(line!.width).toBe((await renderLine('West Highland…', style)).width);
  });

  it('breaks a word that is wider than the line, and gives nothing for nothing', async () => {
    const lines = await renderParagraph('Donaudampfschifffahrtsgesellschaft', { ...style, maxWidth: 120, maxLines: 5 });
    expect(lines.length).toBeGreaterThanOrEqual(2);
    for (const line of lines) expect(line.width).toBeLessThanOrEqual(120);
    expect(await renderParagraph(' ', { ...style, maxWidth: 100 })).toEqual([]);
    expect((await renderParagraph('wide', { ...style, maxWidth: 1, maxLines: 2 })).length).toBe(2);
  });
});

it('drawLines aligns within its column and cuts at the edge of the canvas', async () => {
  const lines = [await renderLine('HH', style)];
  const { width } = lines[0]!;
  const inkedColumns = (align: 'left' | 'center' | 'right', columnWidth: number): [number, number] => {
    const canvas = createCanvas(200, 30);
    drawLines(canvas, lines, { left: 20, top: 4, width: columnWidth, align, color: [0, 0, 0] });
    const inked = Array.from({ length: 200 }, (_, x) =>
      Array.from({ length: 30 }, (_, y) => canvas.data[3 * (y * 200 + x)]!).some((value) => value < 255),
    );
    return [inked.indexOf(true), inked.lastIndexOf(true)];
  };
  expect(inkedColumns('left', 100)).toEqual([20, 20 + width - 1]);
  expect(inkedColumns('right', 100)).toEqual([120 - width, 119]);
  expect(inkedColumns('center', 100)[0]).toBe(20 + Math.round((100 - width) / 2));
  const canvas = createCanvas(10, 5);
  drawLines(canvas, lines, { left: 5, top: -8, width: 100, color: [0, 0, 0] });
  expect(canvas.data.some((value) => value < 255)).toBe(true);
});
