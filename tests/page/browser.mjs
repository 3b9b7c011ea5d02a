// What the programs here share: a browser, and what is wrong with what it shows.
//
// Usage of each: node PROGRAM.mjs ADDRESS [ARGUMENTS…]. Exit code 0 if all is well; what is not goes to stderr.
// LOOPTAPE_CLIENTS says where the packages are, CHROMIUM which browser, SCREENSHOTS where pictures of it go.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.LOOPTAPE_CLIENTS, 'page', 'package.json'));
const { chromium } = require('playwright-core');

export const [address, ...given] = process.argv.slice(2);

// Runs `look(page, context)` in a browser. Anything that the page logs as an error, and any request that leaves its origin, fails it.
export async function browse(look, { width = 1280, height = 800, theme = 'light' } = {}) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
  const troubles = [];
  try {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: 'reduce' });
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    context.setDefaultTimeout(20_000);
    const page = await context.newPage();
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && !message.text().startsWith('Failed to load resource') && troubles.push(message.text()));
    page.on('pageerror', (error) => troubles.push(String(error.stack ?? error)));
    page.on('dialog', (dialog) => {
      troubles.push(`a dialog opened: ${dialog.message()}`);
      dialog.dismiss();
    });
    const origin = address.startsWith('http') ? new URL(address).origin : null;
    page.on('request', (request) => {
      const to = request.url();
      if (origin && !to.startsWith(origin) && !/^(data|blob):/.test(to)) troubles.push(`it asked ${to}`);
    });
    await look(page, context);
  } finally {
    await browser.close();
  }
  assert.deepEqual(troubles, []);
}

// No serious finding of axe in what is shown.
export async function accessible(page, what) {
  await page.evaluate(require('axe-core').source);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const serious = found.violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  const told = serious.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join(' | ')}`);
  assert.deepEqual(told, [], `${what}: axe`);
}

// Nothing sticks out to the side.
export async function fits(page, what) {
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= screen, `${what} is ${wide} px wide on a screen of ${screen}`);
}

export async function picture(page, name) {
  if (!process.env.SCREENSHOTS) return;
  mkdirSync(process.env.SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
}

export { assert };
