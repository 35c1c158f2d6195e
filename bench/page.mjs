/**
 * What the page costs: node bench/page.mjs [--loads 10] [--frames 240]
 *
 * The bundled models behind one service, in the system's Chromium (CHROMIUM below). Two figures:
 *
 * - first view: from the start of navigation, with an empty cache, until both first maps are painted; and the processor
 *   time of the browser and of the service for it, which others on the machine change less.
 * - recoloring: opacity and threshold are dragged, a change in each frame. Chromium's own trace says how much processor
 *   time its main thread and all its other threads took. That is what counts where others use the machine too: a frame
 *   has 16.7 ms at 60 a second.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import os from 'node:os';
import { parseArgs } from 'node:util';

import { chromium } from 'playwright-core';

import { createService, nodeHandler } from '../dist/service/http.js';

const CHROMIUM = process.env['SIGHTLINE_CHROMIUM'] ?? '/usr/bin/chromium';
const { values } = parseArgs({
  options: { loads: { type: 'string', default: '10' }, frames: { type: 'string', default: '240' } },
});
const names = ['efficientnet-lite0', 'resnet-tiny-shapes', 'vit-tiny-shapes'];

const service = createService({ models: Object.fromEntries(names.map((name) => [name, name])), deadline: 600_000 });
await service.ready();
const server = createServer(nodeHandler(service)).listen(0, '127.0.0.1');
await once(server, 'listening');
const address = server.address();
if (address === null || typeof address === 'string') throw new Error('The server has no port.');
const url = `http://127.0.0.1:${address.port}/`;
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });

/** The largest sample: what is painted grows with it. */
const PICTURE = 'Tower of the Summer Palace';

/** Marks when both maps are there: their legends come in the turn in which they are painted. */
const WATCH = `
  window.firstView = new Promise((resolve) => {
    new MutationObserver((_, observer) => {
      if (document.querySelectorAll('.panel .legend').length < 2) return;
      observer.disconnect();
      requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now())));
    }).observe(document, { childList: true, subtree: true });
  });
`;

/** @param {(page: import('playwright-core').Page) => Promise<void>} [before] */
async function opened(before) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(600_000);
  const page = await context.newPage();
  await page.addInitScript(WATCH);
  await before?.(page);
  await page.goto(url, { timeout: 600_000 });
  return { context, page, firstView: Number(await page.evaluate('window.firstView')) };
}

const TASKS = ['toplevel', 'disabled-by-default-devtools.timeline'];

/** @param {readonly number[]} all @param {number} share */
const quantile = (all, share) => {
  const sorted = [...all].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
};

/** @param {string} label @param {number} frames */
const DRAG = (label, frames) => `
  new Promise((resolve) => {
    const input = [...document.querySelectorAll('.look .slider')].find((each) => each.textContent.includes('${label}')).querySelector('input');
    const times = [];
    const step = (now) => {
      times.push(now);
      if (times.length > ${frames}) return resolve(times);
      input.value = String(0.5 + 0.45 * Math.sin(times.length / 9));
      input.dispatchEvent(new Event('input', { bubbles: true }));
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  })`;

/**
 * Processor time of the page's own process, from its trace: tasks of the main thread, and of the others.
 * @param {Buffer} trace
 */
function processorTime(trace) {
  /** @type {{ name: string, ph: string, pid: number, tid: number, cat: string, tdur?: number, args?: any }[]} */
  const events = JSON.parse(trace.toString('utf8')).traceEvents;
  const mains = events.filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain');
  const tasks = events.filter(
    ({ name, ph }) => ph === 'X' && (name === 'ThreadControllerImpl::RunTask' || name === 'ThreadPool_RunTask'),
  );
  /** @param {(event: { pid: number, tid: number }) => boolean} isMeant */
  const sum = (isMeant) => tasks.filter(isMeant).reduce((total, { tdur = 0 }) => total + tdur, 0) / 1000;
  // The page's renderer is the one that ran most; others wait for a page to come.
  const main = mains
    .map(({ pid, tid }) => ({ pid, tid, ms: sum((event) => event.pid === pid && event.tid === tid) }))
    .sort((a, b) => b.ms - a.ms)[0];
  if (main === undefined) throw new Error('The trace names no main thread.');
  return { main: main.ms, others: sum(() => true) - main.ms };
}

const load = () => os.loadavg()[0]?.toFixed(1);
console.log(
  `${os.cpus()[0]?.model}, ${os.cpus().length} cores, Node ${process.versions.node}, Chromium ${browser.version()}`,
);

// What is compiled and packed at the first request is no cost of the page.
await (await opened()).context.close();
/** @type {number[]} */
const views = [];
/** @type {{ main: number, others: number, service: number }[]} */
const costs = [];
for (let i = 0; i < Number(values.loads); i++) {
  const plain = await opened();
  views.push(plain.firstView);
  await plain.context.close();
  // Tracing takes time of its own, so these are loads of their own.
  let before = process.cpuUsage();
  const { context } = await opened(async (page) => {
    await browser.startTracing(page, { categories: TASKS });
    before = process.cpuUsage();
  });
  const { user, system } = process.cpuUsage(before);
  costs.push({ ...processorTime(await browser.stopTracing()), service: (user + system) / 1000 });
  await context.close();
}
const cost = (/** @type {'main' | 'others' | 'service'} */ of) =>
  quantile(
    costs.map((each) => each[of]),
    0.5,
  ).toFixed(0);
console.log(
  `first view of ${views.length}: median ${quantile(views, 0.5).toFixed(0)} ms, least ${Math.min(...views).toFixed(0)}, most ${Math.max(...views).toFixed(0)}; ` +
    `processor time ${cost('main')} ms of the page's main thread, ${cost('others')} of the browser's others, ${cost('service')} of the service with the driver of the browser; load average ${load()}`,
);

for (const view of ['Heat', 'Contour', 'Mask']) {
  for (const label of ['Opacity', 'Threshold']) {
    const { context, page } = await opened();
    await page.getByRole('button', { name: PICTURE }).click();
    await page.locator('[aria-busy="true"]').first().waitFor();
    await page.locator('[aria-busy="true"]').first().waitFor({ state: 'detached' });
    await page.getByText(view, { exact: true }).click();
    await page.evaluate(DRAG(label, 30));
    await browser.startTracing(page, { categories: TASKS });
    /** @type {number[]} */
    const times = await page.evaluate(DRAG(label, Number(values.frames)));
    const { main, others } = processorTime(await browser.stopTracing());
    const between = times.slice(1).map((time, i) => time - (times[i] ?? time));
    const frames = between.length;
    console.log(
      `${view}, ${label.toLowerCase()}: ${(main / frames).toFixed(2)} ms of the main thread and ${(others / frames).toFixed(2)} ms of others for a frame; ` +
        `frames ${quantile(between, 0.5).toFixed(1)} ms apart at the median, ${quantile(between, 0.95).toFixed(1)} at 95 %; load average ${load()}`,
    );
    await context.close();
  }
}
await browser.close();
server.close();
server.closeAllConnections();
await service.close();
