// Usage: node .ci/summary.mjs VITEST_JSON VITEST_EXIT_CODE ENGINE_EXIT_CODE|none
// Prints the figures as the last line and exits 0 only when every test ran and passed.
import { readFileSync } from 'node:fs';

const [report, vitest, engine] = process.argv.slice(2);
let passed = 0;
let failed = 0;
let skipped = 0;
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
    if (file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed')) {
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
  console.log(`there is no test report (${error.message})`);
}
if (vitest !== '0' && failed === 0) {
  failed++;
  console.log(`vitest ended with code ${vitest} although no test failed`);
}
if (engine !== 'none') engine === '0' ? passed++ : failed++;

console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed === 0 && skipped === 0 ? 0 : 1;
