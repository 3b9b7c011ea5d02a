// A load run's page, opened from the disk: every plot is drawn, its table is beside it, nothing is asked of anybody.
// Arguments: how many plots are seen without opening anything; widths of the screen.
import { accessible, address, assert, browse, fits, given, picture } from './browser.mjs';

const [seen, ...widths] = given.map(Number);

for (const width of widths) {
  await browse(async (page) => {
    page.on('request', (request) => assert.match(request.url(), /^file:/));
    await page.goto(address);
    const plots = page.locator('[data-plot]:visible');
    assert.equal(await plots.count(), seen);
    for (const plot of await plots.all()) {
      await plot.scrollIntoViewIfNeeded();
      await plot.locator('canvas').waitFor();
    }
    const table = page.locator('figure details').first();
    await table.locator('summary').click();
    assert.ok((await table.locator('tbody tr').count()) > 1);
    // Pointing at a plot tells its figures.
    await plots.first().hover();
    await page.waitForFunction(() => /\d/.test(document.querySelector('.u-legend .u-value').textContent));
    assert.equal(await page.evaluate(() => window.ran), undefined, 'nothing that is named runs');
    await fits(page, 'the report');
    await accessible(page, 'the report');
    await page.evaluate(() => scrollTo(0, 0));
    await picture(page, `load-report-${seen}-${width}`);
    // What is folded is drawn when it is opened.
    const folded = page.locator('details.section').first();
    if ((await folded.count()) === 0) return;
    await folded.locator('summary').first().click();
    await folded.locator('[data-plot] canvas').first().waitFor();
  }, { width, theme: width < 600 ? 'dark' : 'light' });
}
