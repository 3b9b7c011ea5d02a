// A trace whose every text is hostile: markup, control characters, turned text, and an answer of twenty megabytes.
// Argument: the trace.
import { accessible, address, assert, browse, fits, given, picture } from './browser.mjs';

const [trace] = given;

await browse(async (page) => {
  await page.goto(address);
  await page.locator(`a[data-trace="${trace}"]`).waitFor();
  const nothingRan = async () => {
    assert.equal(await page.evaluate(() => window.ran), undefined, 'a script of the recording ran');
    assert.equal(await page.locator('main img, main script, main iframe, main form:not(.filters), main style').count(), 0, 'an element of the recording is there');
    const seen = await page.evaluate(() => document.body.innerText);
    assert.doesNotMatch(seen, /[\u0007\u001b\u202e\u200b]/, 'a character that acts is there as it is');
    return seen;
  };
  assert.match(await nothingRan(), /<img src=x onerror=/);

  await page.goto(`${address}/trace/${trace}?step=1`);
  await page.locator('.conversation').waitFor();
  const seen = await nothingRan();
  for (const shown of ['<script>window.ran = 1</script>', '\\u{202e}', '\\u{1b}[2J', '\\u{200b}', '\\u{7}']) {
    assert.ok(seen.includes(shown), `${shown} is not shown as it is`);
  }
  await accessible(page, 'a hostile step');
  await picture(page, 'hostile-light');

  // The long text: its beginning at once, all of it as a file.
  await page.getByText(/The first 3\d KB of 2\d\.\d MB/).first().waitFor();
  const length = await page.evaluate(() => document.body.innerText.length);
  assert.ok(length < 400_000, `the page holds ${length} characters`);
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Save all of it' }).first().click()]);
  const chunks = [];
  for await (const chunk of await file.createReadStream()) chunks.push(chunk);
  const all = Buffer.concat(chunks).toString();
  assert.ok(all.length > 20_000_000 && all.endsWith('the end'), `the file has ${all.length} characters`);

  for (const part of ['usage', 'parameters', 'bytes']) {
    await page.goto(`${address}/trace/${trace}?step=1&part=${part}`);
    await page.locator('.pane-body .figures').waitFor();
    await page.waitForFunction(() => document.querySelectorAll('.pane-body > *').length > 2);
    await nothingRan();
  }
  await page.goto(`${address}/trace/${trace}?tab=money`);
  await page.locator('.sheet').waitFor();
  await nothingRan();
});

await browse(
  async (page) => {
    await page.goto(`${address}/trace/${trace}?step=1`);
    await page.locator('.conversation').waitFor();
    await fits(page, 'a hostile step');
  },
  { width: 390, height: 844, theme: 'dark' },
);
