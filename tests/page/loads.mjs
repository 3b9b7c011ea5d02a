// Load runs: a run over time with its phases, a search with its knee, values side by side.
// Arguments: the ids of a run, of a search, of a variation.
import { accessible, address, assert, browse, fits, given, picture } from './browser.mjs';

const [run, search, vary] = given;
const text = (page, selector) => page.locator(selector).innerText();

await browse(async (page) => {
  await page.goto(`${address}/load`);
  await page.locator(`a[href$="/load/${run}"]`).waitFor();
  assert.equal(await page.locator('tbody tr').count(), 3);
  await accessible(page, 'the list of load runs');
  await page.locator(`a[href$="/load/${run}"]`).click();
  await page.locator('.drawn canvas').first().waitFor();
  assert.match(await text(page, 'main'), /offered[\s\S]*Over time[\s\S]*offered against completed[\s\S]*Phases[\s\S]*before[\s\S]*spike[\s\S]*after[\s\S]*all[\s\S]*Segments/);
  assert.match(await text(page, 'main'), /Gates: 1 of 1 fail/);
  await page.getByText('The same as a table').click();
  await page.getByRole('columnheader', { name: 'at once' }).first().waitFor();
  await accessible(page, 'a load run');
  await picture(page, 'load-light');

  await page.goto(`${address}/load/${search}`);
  await page.locator('canvas').waitFor();
  assert.match(await text(page, 'main'), /It takes [\d.]+ loops\/min; at [\d.]+ something gives[\s\S]*The knee: at/);
  await accessible(page, 'a search');
  await picture(page, 'capacity-light');

  await page.goto(`${address}/load/${vary}`);
  await page.getByText('retry.max=2').waitFor();
  await accessible(page, 'values side by side');

  await page.goto(`${address}/load/ffffffff`);
  await page.getByText('there is no load run').waitFor();
});

await browse(
  async (page) => {
    for (const [name, place] of [['load runs', 'load'], ['a load run', `load/${run}`], ['a search', `load/${search}`], ['values', `load/${vary}`]]) {
      await page.goto(`${address}/${place}`);
      await page.waitForLoadState('networkidle');
      await fits(page, name);
      await accessible(page, `${name}, dark and narrow`);
    }
    await picture(page, 'load-dark-narrow');
  },
  { width: 390, height: 800, theme: 'dark' },
);
