// A trace as a page in one file, opened from the disk: its data is in it, and nothing is asked of anybody.
// Arguments: `whole`, `without` or `hostile`, and a step.
import { accessible, address, assert, browse, fits, given, picture } from './browser.mjs';

const [kind, step] = given;

for (const size of [{}, { width: 390, height: 800, theme: 'dark' }]) {
  await browse(async (page) => {
    page.on('request', (request) => assert.match(request.url(), /^(file|data|blob):/));
    await page.goto(address);
    await page.locator('.row').first().waitFor();
    await page.waitForFunction(() => document.title.includes('looptape'));
    assert.equal(await page.evaluate(() => window.ran), undefined, 'nothing recorded runs');
    await fits(page, 'the file');
    await accessible(page, 'the file');
    await picture(page, `file-${kind}-${size.width ?? 1280}`);
    await page.locator('.row.llm').nth(Number(step) - 1).click();
    await page.locator('.conversation').first().waitFor();
    const said = await page.locator('.pane').innerText();
    if (kind === 'whole') assert.match(said, /New in this step/);
    if (kind === 'without') assert.match(said, /left out: \d+ characters/);
    if (kind === 'hostile') assert.match(said, /<script>window\.ran = 1<\/script>[\s\S]*The first [\d.]+ .B of/);
    await page.getByRole('link', { name: 'Tokens and cost' }).click();
    await page.getByText('What the input consists of').waitFor();
    await page.getByRole('link', { name: 'Headers and bytes' }).click();
    await page.getByText('are not in the file').waitFor();
    assert.equal(await page.evaluate(() => window.ran), undefined, 'nothing recorded runs');
    // A link to a step survives that the file is opened anew.
    const at = page.url();
    await page.goto('about:blank');
    await page.goto(at);
    await page.locator('.pane').waitFor();
    await page.keyboard.press('Escape');
    for (const tab of ['Context', 'Money']) {
      await page.getByRole('link', { name: tab, exact: true }).click();
      await page.locator('.sheet').waitFor();
    }
    if (kind === 'hostile') return;
    await page.getByRole('link', { name: 'Audit' }).first().click();
    await page.getByText('Where the input went').waitFor();
  }, size);
}
