// Usage: node .ci/summary.mjs (vitest REPORT EXIT_CODE | program NAME EXIT_CODE)...
// Prints the figures of all runs as the last line and exits 0 only when every test ran and passed in each.
import { readFileSync } from 'node:fs';

let passed = 0;
let failed = 0;
let skipped = 0;

/** @param {string} report @param {string} code */
function countTests(report, code) {
  const failedBefore = failed;
  try {
    const { testResults, numTotalTests } = JSON.parse(readFileSync(report, 'utf8'));
    for (const file of testResults) {
      for (const test of file.assertionResults) {
        if (test.status === 'passed') passed++;
        else if (test.status === 'failed') {
          failed++;
          // Again at the end, since of a long log the end is what people are shown.
          const message = test.failureMessages.join('\n').split('\n').slice(0, 12).join('\n  ');
          console.log(`failed (${report}): ${file.name}: ${test.fullName}\n  ${message}`);
        } else {
          skipped++; // skipped, todo, pending or disabled
          console.log(`not run (${test.status}): ${file.name}: ${test.fullName}`);
        }
      }
      // A file that breaks outside of its tests, by a syntax error or a crash, has no failed test to show for it.
      if (
        file.status === 'failed' &&
        !file.assertionResults.some((/** @type {{ status: string }} */ { status }) => status === 'failed')
      ) {
        failed++;
        console.log(`failed as a whole: ${file.name}: ${file.message}`);
      }
    }
    if (numTotalTests === 0) {
      failed++;
      console.log('no test ran at all');
    }
  } catch (error) {
    failed++;
    console.log(`there is no test report (${/** @type {Error} */ (error).message})`);
  }
  if (code !== '0' && failed === failedBefore) {
    failed++;
    console.log(`vitest ended with code ${code} although no test failed (${report})`);
  }
}

/** A program of tests counts as one. @param {string} name @param {string} code */
function countProgram(name, code) {
  if (code === '0') passed++;
  else {
    failed++;
    console.log(`${name} ended with code ${code}`);
  }
}

const runs = process.argv.slice(2);
for (let i = 0; i < runs.length; i += 3) {
  const [kind, name, code] = runs.slice(i, i + 3);
  if (name !== undefined && code !== undefined && kind === 'vitest') countTests(name, code);
  else if (name !== undefined && code !== undefined && kind === 'program') countProgram(name, code);
  else {
    failed++;
    console.log(`no run: ${runs.slice(i, i + 3).join(' ')}`);
  }
}
if (runs.length === 0) {
  failed++;
  console.log('nothing ran');
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed === 0 && skipped === 0 ? 0 : 1;
