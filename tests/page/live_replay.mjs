// A live replay with a budget that is typed in, watched to its end; and one whose budget does not cover a call.
// Arguments: the token, the trace. The provider is a simulated one.
import { accessible, address, assert, browse, given, picture } from './browser.mjs';

const [token, trace] = given;

await browse(async (page) => {
  await page.goto(`${address}#token=${token}`);
  await page.waitForURL((url) => !url.href.includes(token));
  await page.goto(`${address}/replay/${trace}`);
  await page.getByText('The live model').click();
  await page.getByLabel('at most').fill('0.25');
  await page.getByRole('button', { name: 'Start, and pay' }).click();
  await page.getByRole('heading', { name: 'Replayed' }).waitFor();
  const verdict = await page.locator('.verdict').innerText();
  assert.match(verdict, /^It answers otherwise: \d of 3 answers say what was recorded\. Spent \$0\.0\d+/, verdict);
  await accessible(page, 'a live replay');
  await picture(page, 'replay-live-light');
  await page.getByText('Look at its trace').click();
  await page.locator('.rows [role=row], .rows .row').first().waitFor();
  assert.match(await page.locator("main").innerText(), /Replay/);

  // Not a cent more than what was said.
  await page.goto(`${address}/replay/${trace}`);
  await page.getByText('The live model').click();
  await page.getByLabel('at most').fill('0.01');
  await page.getByRole('textbox', { name: 'model' }).fill('gpt-4');
  await page.getByRole('button', { name: 'Start, and pay' }).click();
  await page.getByText('No call was answered').waitFor();
  assert.match(await page.locator('main').innerText(), /\$0\.01 of the budget of \$0\.01 for this run is left[^]*Raise --max-usd/);
});
