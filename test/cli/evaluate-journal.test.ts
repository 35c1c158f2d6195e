import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { Journal, type Question } from '../../lib/cli/evaluation/journal.js';
import { judgeAll, type Judging } from '../../lib/cli/evaluation/judging.js';
import { writeJudgements } from '../../lib/cli/evaluation/judgement-file.js';
import { Pace } from '../../lib/cli/evaluation/pace.js';
import { pictureKey } from '../../lib/cli/evaluation/picture-key.js';
import { boxesObject, type LabelledPicture } from '../../lib/cli/labels/labelled-picture.js';
import { maskFileObject } from '../../lib/cli/labels/mask-file.js';
import { Evaluation, SightlineError, type EvaluateOptions, type Judgement } from '../../lib/index.js';
import { parseEvaluateOptions } from '../../lib/requests/evaluate/options.js';
import { ROOT, temporaryFolder } from './command.js';

const QUESTION: Question = { model: ['abc'], '--method': ['grad-cam', 'hires-cam'], '--target': null };
const rethrown = (_image: string, error: unknown): undefined => {
  throw error;
};

/** A judgement of values that are hard to write down. */
function judgementOf(image: string, method: string, figure: number): Judgement {
  return {
    image,
    method,
    target: { index: 3, label: 'tabby, "cat"\n', score: 1 / 3, against: { index: 4, label: 'x', score: NaN } },
    state: Number.isNaN(figure) ? 'nan' : 'ok',
    figures: { 'deletion steps=2': figure, iou: 1e-300, auc: -Infinity },
    curves: {
      'deletion steps=2': { shares: Float32Array.of(0, 0.1, 1), scores: Float32Array.of(1 / 3, NaN, Infinity) },
    },
  };
}

/** Answers by the file's length; counts what it is asked, and is interrupted at one of its calls. */
class FakeModel {
  readonly asked: string[] = [];
  constructor(private readonly interruptedAt = Infinity) {}

  evaluate = (images: unknown, { methods, onProgress }: EvaluateOptions): Promise<Evaluation> => {
    if (this.asked.length >= this.interruptedAt) {
      return Promise.reject(new SightlineError('ABORTED', 'The request was aborted.'));
    }
    const method = methods[0] as string;
    const files = images as string[];
    this.asked.push(`${method}: ${files.map((file) => path.basename(file)).join(' ')}`);
    const judgements = files.flatMap((file) => {
      const size = readFileSync(file).length;
      return [judgementOf('lost', method, size % 7 === 0 ? NaN : size / 3), judgementOf('lost', method, -size)];
    });
    onProgress?.({ done: files.length, total: files.length });
    return Promise.resolve(new Evaluation(judgements, parseEvaluateOptions({ methods, metrics: ['sparseness'] })));
  };
}

function picturesIn(folder: string, count: number): LabelledPicture[] {
  return Array.from({ length: count }, (_, i) => {
    const image = path.join(folder, `${i}.png`);
    writeFileSync(image, 'x'.repeat(i + 3));
    return { image, target: null, object: boxesObject([[0, 0, i, 1]]) };
  });
}

const judging = (model: FakeModel, journal: Journal | null): Judging => ({
  model: model,
  methods: ['grad-cam', 'hires-cam'].map((label) => ({ label, asked: label as 'grad-cam' })),
  metrics: ['sparseness'],
  target: 'top2',
  hasObjects: true,
  journal,
  signal: new AbortController().signal,
  progress: () => undefined,
});

/** The bytes of the file that a command would write, as JSON and as CSV. */
async function written(folder: string, judged: Awaited<ReturnType<typeof judgeAll>>): Promise<Buffer[]> {
  const judgements = [0, 1].flatMap((at) => judged.flatMap((each) => each.judgements[at]!));
  const asked = parseEvaluateOptions({ methods: ['grad-cam', 'hires-cam'], metrics: ['sparseness'] });
  const evaluation = new Evaluation(
    judgements.map((each) => ({
      ...each,
      figures: { ...each.figures, sparseness: each.figures['deletion steps=2']! },
    })),
    asked,
  );
  const files = ['out.json', 'out.csv'].map((name) => path.join(folder, name));
  for (const file of files) await writeJudgements(file, evaluation, 'fake');
  return files.map((file) => readFileSync(file));
}

describe('an evaluation that is interrupted', () => {
  it.each([0, 1, 2, 3])(
    'at its call %i goes on to the same file, byte by byte, and asks nothing twice',
    async (call) => {
      const folder = temporaryFolder();
      const pictures = picturesIn(folder, 18);
      const whole = new FakeModel();
      const expected = await written(folder, await judgeAll(pictures, judging(whole, null), rethrown));
      expect(whole.asked).toHaveLength(4);

      const file = path.join(folder, 'out.json.journal');
      const first = new FakeModel(call);
      const begun = await Journal.open(file, QUESTION, { resume: false });
      await expect(judgeAll(pictures, judging(first, begun), rethrown)).rejects.toMatchObject({ code: 'ABORTED' });
      expect(await begun.leave()).toBe(call > 0);
      expect(existsSync(file)).toBe(call > 0);

      const second = new FakeModel();
      const journal = await Journal.open(file, QUESTION, { resume: true });
      const judged = await judgeAll(pictures, judging(second, journal), rethrown);
      expect(await written(folder, judged)).toEqual(expected);
      expect([...first.asked, ...second.asked]).toEqual(whole.asked);
      await journal.finish();
      expect(existsSync(file)).toBe(false);
    },
  );

  it('judges pictures again whose contents, class, object or mask changed, and those alone', async () => {
    const folder = temporaryFolder();
    const pictures = picturesIn(folder, 5);
    const mask = path.join(folder, 'mask.png');
    copyFileSync(path.join(ROOT, 'models', 'eval', '000.png'), mask);
    pictures[3] = { ...pictures[3]!, object: maskFileObject(mask, null) };
    const file = path.join(folder, 'journal');
    const begun = await Journal.open(file, QUESTION, { resume: false });
    await judgeAll(pictures, judging(new FakeModel(), begun), rethrown);
    await begun.leave();

    writeFileSync(pictures[0]!.image, 'another picture');
    pictures[1] = { ...pictures[1]!, target: 'cat' };
    pictures[2] = { ...pictures[2]!, object: boxesObject([[0, 0, 9, 9]]) };
    copyFileSync(path.join(ROOT, 'models', 'eval', '001.png'), mask);
    const again = new FakeModel();
    const journal = await Journal.open(file, QUESTION, { resume: true });
    await judgeAll(pictures, judging(again, journal), rethrown);
    await journal.leave();
    expect(again.asked).toEqual(['grad-cam: 0.png 1.png 2.png 3.png', 'hires-cam: 0.png 1.png 2.png 3.png']);
  });
});

describe('a picture that cannot be judged', () => {
  it('is left out of every method, and is tried again', async () => {
    const folder = temporaryFolder();
    const pictures = picturesIn(folder, 3);
    pictures[1] = { ...pictures[1]!, object: maskFileObject(path.join(folder, 'none.png'), null) };
    const failures: string[] = [];
    const failed = (image: string): undefined => void failures.push(path.basename(image));
    const journal = await Journal.open(path.join(folder, 'journal'), QUESTION, { resume: true });
    const judged = await judgeAll(pictures, judging(new FakeModel(), journal), failed);
    expect(judged.map(({ image }) => path.basename(image))).toEqual(['0.png', '2.png']);
    expect(judged.map(({ judgements }) => judgements.map((each) => each.length))).toEqual([
      [2, 2],
      [2, 2],
    ]);
    await judgeAll(pictures, judging(new FakeModel(), journal), failed);
    await journal.leave();
    expect(failures).toEqual(['1.png', '1.png']);
    expect(await pictureKey({ image: 'none.png', target: null, object: null }, 'none.png', 'none.png')).toBeNull();
  });
});

describe('a journal', () => {
  async function begun(folder: string): Promise<string> {
    const file = path.join(folder, 'journal');
    const journal = await Journal.open(file, QUESTION, { resume: false });
    await journal.add([
      {
        picture: 'a',
        method: 'grad-cam',
        judgements: [judgementOf('a', 'grad-cam', NaN), judgementOf('a', 'grad-cam', 0.1)],
      },
      { picture: 'b', method: 'grad-cam', judgements: [judgementOf('b', 'grad-cam', Infinity)] },
    ]);
    await journal.leave();
    return file;
  }

  it('gives back what it was given, numbers that are not finite too', async () => {
    const journal = await Journal.open(await begun(temporaryFolder()), QUESTION, { resume: true });
    expect(journal.judgementsOf('a', 'grad-cam')).toEqual([
      judgementOf('a', 'grad-cam', NaN),
      judgementOf('a', 'grad-cam', 0.1),
    ]);
    expect(journal.judgementsOf('b', 'grad-cam')).toEqual([judgementOf('b', 'grad-cam', Infinity)]);
    expect(journal.judgementsOf('b', 'hires-cam')).toBeUndefined();
    await journal.leave();
  });

  it('drops a last line that was not written to its end, and writes on after the one before', async () => {
    const file = await begun(temporaryFolder());
    truncateSync(file, readFileSync(file).length - 1);
    const cut = await Journal.open(file, QUESTION, { resume: true });
    expect(cut.judgementsOf('a', 'grad-cam')).toHaveLength(2);
    expect(cut.judgementsOf('b', 'grad-cam')).toBeUndefined();
    await cut.add([{ picture: 'c', method: 'grad-cam', judgements: [] }]);
    await cut.leave();
    const again = await Journal.open(file, QUESTION, { resume: true });
    expect(['a', 'b', 'c'].map((key) => again.judgementsOf(key, 'grad-cam')?.length)).toEqual([2, undefined, 0]);
    await again.leave();
  });

  it.each<[string, Question, string]>([
    ['another option', { ...QUESTION, '--method': ['grad-cam', 'hires-cam alpha=1'] }, 'another --method'],
    ['another model', { ...QUESTION, model: ['abd'] }, 'another model'],
    ['an option more', { ...QUESTION, '--output': 1 }, 'another --output'],
    ['an option less', { model: ['abc'], '--method': QUESTION['--method'] }, 'another --target'],
  ])('is refused with %s', async (_what, question, message) => {
    const file = await begun(temporaryFolder());
    const before = readFileSync(file);
    await expect(Journal.open(file, question, { resume: true })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining(message) as string,
    });
    expect(readFileSync(file)).toEqual(before);
  });

  it('is not lost to a command that says nothing of it', async () => {
    const file = await begun(temporaryFolder());
    const before = readFileSync(file);
    await expect(Journal.open(file, QUESTION, { resume: false })).rejects.toThrow(
      'go on with it by --resume, or delete it',
    );
    expect(readFileSync(file)).toEqual(before);
  });

  it('is refused where it is damaged, another file or in no folder', async () => {
    const folder = temporaryFolder();
    const file = await begun(folder);
    appendFileSync(file, '{"picture": 3}\n');
    await expect(Journal.open(file, QUESTION, { resume: true })).rejects.toThrow('Line 4 of');
    const other = path.join(folder, 'other');
    writeFileSync(other, 'a shopping list\n');
    await expect(Journal.open(other, QUESTION, { resume: true })).rejects.toThrow('Line 1 of');
    await expect(Journal.open(path.join(folder, 'none', 'x'), QUESTION, { resume: false })).rejects.toThrow(
      'cannot be written',
    );
    mkdirSync(path.join(folder, 'folder'));
    await expect(Journal.open(path.join(folder, 'folder'), QUESTION, { resume: true })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
    });
  });
});

describe('the time left', () => {
  it('is that of each method at its own pace, of one not yet at work at that of the others', () => {
    let clock = 0;
    const pace = new Pace(10, 2, () => clock);
    expect(pace.secondsLeft()).toBeNull();
    expect(pace.line()).toBe('0 of 20 maps judged');
    const first = pace.start(0);
    clock = 4;
    first(2);
    // 8 more by the first, and 10 by the second, at 2 s each.
    expect(pace.secondsLeft()).toBe(36);
    expect(pace.line()).toBe('2 of 20 maps judged, about 36 s left');
    const second = pace.start(1);
    clock = 64;
    second(2);
    // 8 more by each, at 2 s and at 30 s.
    expect(pace.secondsLeft()).toBe(16 + 240);
    pace.skip(0, 8);
    pace.skip(1, 3);
    expect(pace.secondsLeft()).toBe(5 * 30);
    pace.expect(-5);
    expect(pace.secondsLeft()).toBe(0);
  });
});
