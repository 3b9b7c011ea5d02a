// The list, a trace and its steps, by mouse and by keyboard, at both sizes and in both themes.
// Argument: the trace.
import { accessible, address, assert, browse, fits, given, picture } from './browser.mjs';

const [trace] = given;
const text = (page, selector) => page.locator(selector).innerText();

await browse(async (page) => {
  // The list, by keyboard.
  await page.goto(address);
  const row = page.locator(`a[data-trace="${trace}"]`);
  await row.waitFor();
  assert.match(await text(page, 'table.traces tbody tr:first-child'), /traveller[\s\S]*gpt-4o-mini[\s\S]*success[\s\S]*3\s+3\s+1/);
  await accessible(page, 'the list');
  await picture(page, 'traces-light');
  await page.keyboard.press('/');
  await page.keyboard.type('nobody has this');
  await page.getByText('No trace passes these filters').waitFor();
  assert.match(page.url(), /text=nobody\+has\+this/);
  await page.getByRole('button', { name: 'Clear' }).click();
  await row.waitFor();
  await page.getByRole('button', { name: 'cost' }).click();
  await page.waitForURL(/sort=cost/);
  assert.equal(await page.locator('th[aria-sort="descending"]').innerText(), 'cost ↓');
  await page.keyboard.press('j');
  assert.equal(await page.evaluate(() => document.activeElement.dataset.trace), trace);
  await page.keyboard.press('Enter');

  // The trace.
  await page.waitForURL(/\/ui\/trace\//);
  await page.locator('.rows-inner .row.llm').first().waitFor();
  assert.equal(await page.locator('.rows-inner .row').count(), 6);
  const names = await page.locator('.rows-inner .row .no').allInnerTexts();
  assert.deepEqual(names, ['1', '1.1', '1.2', '2', '2.1', '3']);
  const height = await page.locator('.timeline.rows').evaluate((grid) => {
    const inner = grid.querySelector('.rows-inner');
    const [before] = [inner.style.height, (inner.style.height = '100000px')];
    const tall = grid.clientHeight;
    inner.style.height = before;
    return tall;
  });
  assert.ok(height < 900, `a long timeline scrolls inside itself: it is ${height} px high`);
  assert.equal(await page.locator('.bar .backoff').count(), 1, 'the wait before the second attempt is drawn');
  assert.equal(await page.locator('.bar .failed').count(), 1);
  assert.ok((await page.locator('.bar .ttft').count()) >= 1, 'the first token is marked');
  assert.ok((await page.locator('.bar .overhead').count()) >= 1, 'what came before the first call is overhead');
  assert.match(await text(page, '.summary'), /Where the time went[\s\S]*model[\s\S]*Where the money went[\s\S]*output/);
  await accessible(page, 'a trace');
  await picture(page, 'trace-light');

  // A step, by keyboard.
  for (const key of ['j', 'j', 'j', 'j', 'k', 'j']) {
    const before = page.url();
    await page.keyboard.press(key);
    await page.waitForFunction((url) => location.href !== url, before);
    await page.locator('.rows-inner .row.selected').waitFor();
  }
  assert.match(page.url(), /step=2(&|$)/);
  await page.locator('.conversation').waitFor();
  assert.match(await text(page, '.pane'), /Step 2[\s\S]*1: 429[\s\S]*2: 200[\s\S]*earlier message[\s\S]*New in this step[\s\S]*rain, 7 °C[\s\S]*Answered[\s\S]*convert_currency/);
  await accessible(page, 'a step');
  await picture(page, 'step-light');
  await page.getByText('earlier messages, sent before').click();
  await page.getByText('Oslo or Lisbon for the weekend?').first().waitFor();
  await page.getByRole('link', { name: 'Tokens and cost' }).click();
  await page.getByText('What the input consists of').waitFor();
  await page.getByRole('link', { name: 'Headers and bytes' }).click();
  await page.getByRole('button', { name: 'Copy as curl' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  const command = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(command, /^curl -sS -X POST 'http[^']*\/v1\/chat\/completions'/);
  assert.match(command, /"messages"/);
  await page.getByRole('link', { name: /^1: 429/ }).click();
  await page.waitForURL(/attempt=1/);
  await page.getByText('HTTP 429').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('.summary').waitFor();

  // Straight to a tool call, as a link would.
  await page.goto(`${address}/trace/${trace.slice(0, 10)}?step=1.2`);
  await page.getByText('Asked for by').waitFor();
  assert.match(await text(page, '.pane'), /Tool call 1\.2[\s\S]*get_weather[\s\S]*Lisbon[\s\S]*sunny, 24 °C/);
  await page.goto(`${address}/trace/${trace}?step=77`);
  await page.getByText('This trace has no step 77.').waitFor();
  await page.goto(`${address}/trace/nobody`);
  await page.getByText('there is no trace `nobody`').waitFor();

  // Context and money.
  await page.goto(`${address}/trace/${trace}?tab=context`);
  await page.locator('.chart canvas').first().waitFor();
  await accessible(page, 'the context');
  await page.getByRole('link', { name: 'Money' }).click();
  await page.locator('table.heat tbody tr').first().waitFor();
  assert.match(await text(page, 'table.heat'), /System prompt[\s\S]*3 ×[\s\S]*Result of get_weather/);
  await accessible(page, 'the money');

  // Help, and back.
  await page.keyboard.press('?');
  await page.getByRole('heading', { name: 'Keys' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !location.search.includes('tab'));
  await page.keyboard.press('Escape');
  await row.waitFor();
});

await browse(
  async (page) => {
    await page.goto(address);
    await page.locator(`a[data-trace="${trace}"]`).waitFor();
    await fits(page, 'the list');
    await accessible(page, 'the list, narrow and dark');
    await picture(page, 'traces-narrow-dark');
    await page.goto(`${address}/trace/${trace}?step=2`);
    await page.locator('.conversation').waitFor();
    await fits(page, 'a step');
    await accessible(page, 'a step, narrow and dark');
    await picture(page, 'step-narrow-dark');
    await page.getByRole('link', { name: 'Close the step' }).click();
    await page.locator('.summary').waitFor();
    await fits(page, 'a trace');
    await picture(page, 'trace-narrow-dark');
    await page.getByRole('button', { name: 'Light or dark' }).click();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light');
    await page.reload();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light', 'it is remembered');
  },
  { width: 390, height: 844, theme: 'dark' },
);
