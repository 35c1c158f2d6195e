// Usage: node .ci/summary.mjs (VITEST_JSON VITEST_EXIT_CODE ENGINE_EXIT_CODE|none)...
// Prints the figures of all runs as the last line and exits 0 only when every test ran and passed in each.
import { readFileSync } from 'node:fs';

let passed = 0;
let failed = 0;
let skipped = 0;

/** @param {string} report @param {string} vitest @param {string} engine */
function count(report, vitest, engine) {
  const failedBefore = failed;
  try {
    const { testResults, numTotalTests } = JSON.parse(readFileSync(report, 'utf8'));
    for (const file of testResults) {
      for (const test of file.assertionResults) {
        if (test.status === 'passed') passed++;
        else if (test.status === 'failed') failed++;
        else {
          skipped++; // skipped, todo, pending or disabled
          console.log(`not run (${test.status}): ${file.name}: ${test.fullName}`);
        }
      }
      // A file that breaks outside of its tests, by a syntax error or a crash, has no failed test to show for it.
      if (file.status === 'failed' && !file.assertionResults.some((/** @type {{ status: string }} */ { status }) => status === 'failed')) {
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
  if (vitest !== '0' && failed === failedBefore) {
    failed++;
    console.log(`vitest ended with code ${vitest} although no test failed`);
  }
  if (engine === '0') passed++;
  else if (engine !== 'none') failed++;
}

const runs = process.argv.slice(2);
for (let i = 0; i < runs.length; i += 3) count(...(/** @type {[string, string, string]} */ (runs.slice(i, i + 3))));
if (runs.length === 0 || runs.length % 3 !== 0) {
  failed++;
  console.log('a run has not told how it ended');
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed === 0 && skipped === 0 ? 0 : 1;
