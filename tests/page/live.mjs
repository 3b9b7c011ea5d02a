// What is recorded appears while it is. Prints `ready` when the page is open and empty, `begun` when the trace is seen running.
import { address, assert, browse } from './browser.mjs';

await browse(async (page) => {
  await page.goto(address);
  await page.getByText('Nothing is recorded yet').waitFor();
  console.log('ready');
  const row = page.locator('tr.recording a[data-trace]');
  await row.waitFor();
  await row.click();
  await page.locator('.rows-inner .row.llm').first().waitFor();
  const before = await page.locator('.rows-inner .row').count();
  console.log('begun');
  await page.waitForFunction((rows) => document.querySelectorAll('.rows-inner .row').length > rows, before);
  await page.getByRole('heading', { level: 1 }).waitFor();
  await page.locator('.trace-title .mark.good').waitFor();
  assert.equal(await page.locator('.rows-inner .row .no').last().innerText(), '3');
  assert.equal(await page.locator('.connection').evaluate((node) => getComputedStyle(node, '::before').content), '"● live"');
});
