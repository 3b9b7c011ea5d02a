// Two traces side by side, an audit and its findings, the figures of many traces.
// Arguments: the trace, another one that differs from it.
import { accessible, address, assert, browse, fits, given, picture } from './browser.mjs';

const [trace, other] = given;
const text = (page, selector) => page.locator(selector).innerText();

const NARROW = { width: 390, height: 800, theme: 'dark' };

await browse(async (page) => {
  // Diff, from nothing: two names are asked for.
  await page.goto(`${address}/diff`);
  await page.getByText('Name two traces').waitFor();
  await page.getByLabel('A: id').fill(trace);
  await page.getByLabel('B: empty').fill(other);
  await page.getByRole('button', { name: 'Compare' }).click();
  await page.locator('.pair.differs').first().waitFor();
  assert.match(page.url(), new RegExp(`a=${trace}&b=${other}`));
  assert.match(await text(page, '.verdict'), /^The first difference is at step \d+/);
  const inView = await page.locator('.pair.first').evaluate((node) => {
    const { top } = node.getBoundingClientRect();
    return top >= 0 && top < innerHeight;
  });
  assert.ok(inView, 'the first difference is in view');
  assert.ok((await page.locator('.inline-diff ins').count()) > 0 && (await page.locator('.inline-diff del').count()) > 0);
  assert.match(await text(page, 'table.sides'), /steps[\s\S]*input tokens[\s\S]*cost/);
  await accessible(page, 'a diff');
  await picture(page, 'diff-light');
  await page.keyboard.press('j');
  assert.ok(await page.evaluate(() => document.activeElement.classList.contains('differs')), 'j goes to a difference');
  await page.getByRole('button', { name: 'Turn around' }).click();
  await page.waitForURL(new RegExp(`a=${other}&b=${trace}`));

  // A trace and itself; a trace that was made from none; one that is not there.
  await page.goto(`${address}/diff?a=${trace}&b=${trace}`);
  await page.getByText('✓ The same run').waitFor();
  await page.goto(`${address}/diff?a=${trace}`);
  await page.getByText('was not made from another one').waitFor();
  await page.goto(`${address}/diff?a=${trace}&b=nobody`);
  await page.getByText('there is no trace').waitFor();

  // The audit, and from a finding to its step.
  await page.goto(`${address}/audit/${trace}?baseline=${other}`);
  await page.locator('.waterfall').waitFor();
  assert.match(await text(page, '.waterfall'), /steps[\s\S]*context[\s\S]*cache mix[\s\S]*this run/);
  assert.ok((await page.locator('.findings li').count()) > 0);
  assert.match(await text(page, 'main'), /Where the input went[\s\S]*What if/);
  await accessible(page, 'an audit');
  await picture(page, 'audit-light');
  await page.locator('.findings a').first().click();
  await page.waitForURL(/\/ui\/trace\/.*step=\d/);

  // Which runs to look at.
  await page.goto(`${address}/audit`);
  await page.locator(`a[href$="/audit/${trace}"]`).waitFor();
  await page.getByLabel('Ranked by').selectOption('waste');
  await page.waitForURL(/by=waste/);
  await accessible(page, 'the ranking');

  // Numbers, in groups, and a gate of one's own.
  await page.goto(`${address}/numbers?within=all&group_by=model`);
  await page.locator('.histogram').first().waitFor();
  assert.match(await text(page, '.headline'), /loops[\s\S]*retry rate[\s\S]*cost/);
  assert.ok((await page.locator('table').last().innerText()).includes('gpt-4o-mini'));
  // A metric over time: which one is in the address, and needs no other figures.
  const metric = page.getByLabel('Metric');
  assert.equal(await metric.inputValue(), 'loops_per_min');
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  await metric.selectOption({ label: 'cost of a loop' });
  await page.waitForURL(/metric=loop_cost_usd/);
  await page.getByRole('img', { name: /^cost of a loop of each (minute|hour|day)$/ }).waitFor();
  await page.getByText('The same as a table').click();
  const rows = page.getByRole('table', { name: /^cost of a loop of each/ }).locator('tbody tr');
  assert.match(await rows.first().innerText(), /^\d{4}-\d\d-\d\d[ \d:]*\t\d\t\$0\.000\d+ \?\t\$0/);
  assert.deepEqual(asked.filter((url) => url.includes('/api/')), []);
  await metric.selectOption({ label: 'retry rate' });
  await page.getByRole('img', { name: /^retry rate of each/ }).waitFor();
  await page.getByPlaceholder('gate:').fill('retry_rate: value<=0.05');
  await page.keyboard.press('Enter');
  await page.getByText('Gates: 1 of 1 fail').waitFor();
  await accessible(page, 'numbers');
  await picture(page, 'numbers-light');
  await page.getByPlaceholder('gate:').fill('retry: x');
  await page.keyboard.press('Enter');
  await page.getByText('This cannot be shown').waitFor();
});

await browse(async (page) => {
  for (const [name, place] of [
    ['diff', `diff?a=${trace}&b=${other}`],
    ['audit', `audit/${trace}?baseline=${other}`],
    ['ranking', 'audit'],
    ['numbers', 'numbers?within=all&group_by=model'],
  ]) {
    await page.goto(`${address}/${place}`);
    await page.waitForLoadState('networkidle');
    await fits(page, name);
    await accessible(page, `${name}, dark and narrow`);
    await picture(page, `${name}-dark-narrow`);
  }
}, NARROW);
