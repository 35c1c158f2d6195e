// Writes the tables of docs/exported-programs.md: table.mjs FOLDER [NAME...], where export_parity.py or
// export_skeletons.py has written the programs. Rows of other models stay. What was compared is kept in
// FOLDER/compared.json, and not compared again.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { compare, compareSkeleton } from './comparison.mjs';

const FORMS = ['training', 'inference', 'core'];
const PAGE = new URL('../../docs/exported-programs.md', import.meta.url);
const [folder, ...asked] = process.argv.slice(2);
const files = readdirSync(folder);
const names = files.filter((file) => file.endsWith('.core.pt2')).map((file) => file.slice(0, -'.core.pt2'.length));
const isSkeleton = (name) => existsSync(new URL(`../../models/skeletons/${name}.json`, import.meta.url));

const kept = path.join(folder, 'compared.json');
const known = existsSync(kept) ? JSON.parse(readFileSync(kept, 'utf8')) : {};
for (const name of asked.length > 0 ? asked : names) {
  if (known[name] !== undefined) continue;
  const programs = FORMS.map((form) => path.join(folder, `${name}.${form}.pt2`));
  known[name] = await (isSkeleton(name)
    ? compareSkeleton(name, path.join(folder, `${name}.safetensors`), programs)
    : compare(name, programs));
  writeFileSync(kept, JSON.stringify(known));
  write();
}
write();

function row(name, compared) {
  const small = (value) => (value === 0 ? '0' : value.toExponential(0));
  const cells = compared.map(
    ({ scores, worstFeature, maps, worst }) =>
      `${small(scores)}; ${small(worstFeature)}; ${maps}, ${small(worst.difference)}`,
  );
  const missing = Math.max(...compared.map((each) => each.missing.length));
  const [{ features, sites }] = compared;
  return `| ${name} | ${features - missing} of ${features} | ${sites} | ${cells.join(' | ')} |`;
}

/** What differs beside rounding; forms of which the same is to be said stand together. */
function remarks(name, compared) {
  const said = new Map();
  for (const [i, each] of compared.entries()) {
    const found = [
      each.missing.length > 0 &&
        `has no ${each.missing.slice(0, 6).join(', ')}${each.missing.length > 6 ? ', ...' : ''}`,
      !each.areSitesSame && 'has other attention sites',
      !each.isTargetLayerSame && 'has another target layer',
      each.worst.difference > 1e-4 &&
        `differs most in ${each.worst.method}; where sums that a method divides by pass near zero, rounding is magnified (parity.md)`,
      each.lost.length > 0 && `is not explained by ${each.lost.join(', ')}`,
    ].filter(Boolean);
    const text = found.join('; ');
    if (text !== '') said.set(text, [...(said.get(text) ?? []), FORMS[i]]);
  }
  return [...said].map(
    ([text, forms]) => `- ${name}, ${forms.length === FORMS.length ? 'all three' : forms.join(' and ')}: ${text}.`,
  );
}

/** The lines of a section, those of the models that were compared in place of their former ones. */
function merged(lines, made) {
  const own = (line) =>
    Object.keys(known).some((name) => line.startsWith(`| ${name} |`) || line.startsWith(`- ${name}, `));
  return [...lines.filter((line) => !own(line)), ...made].sort((a, b) => (a < b ? -1 : 1));
}

function write() {
  const page = readFileSync(PAGE, 'utf8');
  // A remark may go on in further lines.
  const joined = page.replaceAll(/\n {2}(?=\S)/g, ' ').split('\n');
  const section = (title) => {
    const start = joined.indexOf(`## ${title}`);
    const rest = joined.slice(start + 1);
    const end = rest.findIndex((line) => line.startsWith('## '));
    return start < 0 ? [] : end < 0 ? rest : rest.slice(0, end);
  };
  const part = (title, belongs) => {
    const lines = section(title);
    const compared = Object.entries(known).filter(([name]) => belongs(name));
    const isRow = (line) => /^\| [\w.-]+ \| \d/.test(line);
    const rows = merged(
      lines.filter(isRow),
      compared.map(([name, each]) => row(name, each)),
    );
    const said = merged(
      lines.filter((line) => line.startsWith('- ')),
      compared.flatMap(([name, each]) => remarks(name, each)),
    );
    if (rows.length === 0) return '';
    return `## ${title}

| model | features by the same name | attention sites | training | inference | core ATen |
|---|---|---|---|---|---|
${rows.join('\n')}

${said.length === 0 ? 'All have the same names, sites, target layers and methods.' : `All else is the same but for this:\n\n${said.join('\n')}`}
`;
  };
  const after = page.indexOf('\n## Time and memory');
  writeFileSync(
    PAGE,
    `# Exported programs and archives of the same models

Models were exported by \`torch.export\` in three forms: as it is exported (training IR), after
\`run_decompositions({})\` (inference IR), and after \`run_decompositions()\` (core ATen, in which
attention, linear layers and norms are taken apart). Beside each stands another form of the same
weights. Both were asked for everything, on one image: scores, features, attention sites, and the
map of every method that applies to the other form.

A cell says how far the program is from the other form: its scores; the features of one name,
where three figures stand; how many maps were compared, and the largest difference of them. All are
relative to the largest value.
A 0 means equal to the bit. Made by \`test/exported/table.mjs\`, of the programs of
\`export_parity.py\` and \`export_skeletons.py\`. Of checkpoints above 12 MB, methods that run the
model for each channel or token are left out: \`score-cam\`, \`ss-cam\`, \`is-cam\`, \`ablation-cam\`,
\`value-zeroing\`, \`vit-cx\`, and \`attention-flow\`, which takes as long.

${part('Archives of test/parity', (name) => !isSkeleton(name))}
${part('Skeletons with a checkpoint', isSkeleton)}${after < 0 ? '' : page.slice(after)}`,
  );
}
