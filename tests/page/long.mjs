// How long a trace of ten thousand steps takes to be seen, at its beginning, at a step, and scrolled to. Prints one object. For the
// benchmark: nothing here is a test.
// Argument: the trace.
import { address, browse, given } from './browser.mjs';

const [trace] = given;
const taken = {};

// ms from the navigation's start until the selector is there.
async function opened(page, place, selector) {
  await page.goto('about:blank');
  await page.goto(`${address}${place}`, { waitUntil: 'commit' });
  const there = await page.waitForFunction((wanted) => document.querySelector(wanted) && performance.now(), selector, { polling: 5 });
  return there.jsonValue();
}

await browse(async (page) => {
  const rounds = 5;
  const row = '.rows-inner .row.llm';
  await opened(page, '', 'table.traces tbody tr');
  const several = async (place, selector) => {
    const all = [];
    for (let round = 0; round < rounds; round += 1) all.push(await opened(page, place, selector));
    return all.sort((a, b) => a - b)[Math.floor(rounds / 2)];
  };
  taken.list_ms = await several('', 'table.traces tbody tr');
  taken.first_open_ms = await opened(page, `/trace/${trace}`, row);
  taken.open_ms = await several(`/trace/${trace}`, row);
  taken.open_at_step_ms = await several(`/trace/${trace}?step=900`, '.conversation');
  await opened(page, `/trace/${trace}`, row);
  let asked = 0;
  page.on('request', (request) => (asked += request.url().includes('/rows') ? 1 : 0));
  taken.scroll_to_middle_ms = await page.evaluate(async () => {
    const scroller = document.querySelector('.rows');
    const start = performance.now();
    scroller.scrollTop = scroller.scrollHeight / 2;
    const first = () => document.querySelector('.rows-inner .row');
    while (first().getAttribute('aria-rowindex') < 100 || document.querySelector('.rows-inner .row.loading')) await new Promise((resolve) => setTimeout(resolve, 5));
    return performance.now() - start;
  });
  taken.pages_asked_for = asked;
  taken.rows_in_document = await page.locator('.rows-inner .row').count();
});
console.log(JSON.stringify(taken));
