// How long a trace of ten thousand steps takes to be seen in a file that is opened from the disk. Prints one object. For the
// benchmark: nothing here is a test.
import { address, browse } from './browser.mjs';

const taken = { open_ms: [] };

await browse(async (page) => {
  for (let round = 0; round < 5; round += 1) {
    await page.goto('about:blank');
    await page.goto(address, { waitUntil: 'commit' });
    const there = await page.waitForFunction(() => document.querySelector('.rows-inner .row.llm') && performance.now(), null, { polling: 5 });
    taken.open_ms.push(await there.jsonValue());
  }
});
taken.open_ms = taken.open_ms.sort((a, b) => a - b)[2];
console.log(JSON.stringify(taken));
