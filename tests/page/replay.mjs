// A replay that is started from the page, watched, and compared with its recording.
// Arguments: the token, the trace.
import { accessible, address, assert, browse, given, picture } from './browser.mjs';

const [token, trace] = given;

// Without the token it is said where that is, and nothing can be started.
await browse(async (page) => {
  await page.goto(`${address}/replay/${trace}`);
  await page.getByText('it carries the token').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Start' }).count(), 0);
  await page.getByRole('button', { name: 'Copy' }).first().click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `looptape replay ${trace} -- CMD`);
});

await browse(async (page) => {
  // In a tab that has the page already, where only what is behind the # changes.
  await page.goto(address);
  await page.goto(`${address}#token=${token}`);
  await page.waitForURL((url) => !url.href.includes(token));
  await page.waitForLoadState('networkidle');
  assert.ok(!page.url().includes(token), 'the token does not stay in the address');
  await page.goto(`${address}/replay/${trace}`);
  await page.getByRole('button', { name: 'Start' }).click();
  await page.getByText('answers came back bit for bit').waitFor();
  assert.match(await page.locator('.verdict').innerText(), /✓ As recorded: (\d+) of \1 recorded/);
  await accessible(page, 'a replay');
  await picture(page, 'replay-light');
  await page.getByText('Compare with the recording').click();
  await page.getByText('✓ The same run').waitFor();

  // A mocked model, at a pace at which it can be stopped.
  await page.goto(`${address}/replay/${trace}`);
  await page.getByText('A mocked model').click();
  await page.getByLabel('pace').selectOption('1');
  await page.getByRole('button', { name: 'Start' }).click();
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByText('It was stopped').waitFor();

  // Live, never without a budget.
  await page.getByText('The live model').click();
  await page.getByRole('button', { name: 'Start, and pay' }).click();
  const missing = await page.getByLabel('at most').evaluate((input) => input.validity.valueMissing);
  assert.ok(missing, 'the browser asks for the budget');
  const refused = await page.evaluate(
    async ([trace, token]) => {
      const headers = { 'content-type': 'application/json', 'x-looptape-page-token': token };
      const answer = await fetch('/ui/api/replays', { method: 'POST', headers, body: JSON.stringify({ trace, source: 'live' }) });
      return [answer.status, (await answer.json()).error.message];
    },
    [trace, token],
  );
  assert.deepEqual(refused, [400, 'live calls cost money: say in max_usd how much they may cost at most']);
});
