// The page of all sites, beside a real `inosync overview`: as that tells of the one real site, and as it might tell of many.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';

import { pictures } from './gallery.mjs';
import { SIZES } from './shoot.mjs';

/** What the process might tell: the statuses of the gallery as so many sites, and two that tell none. */
function many() {
  const running = pictures(Math.floor(Date.now() / 1000)).map(({ name, status }) => ({ site: name, verdict: status.verdict, answer: { is: 'running', status } }));
  const silent = [
    { site: 'mail', verdict: 'unknown', answer: { is: 'not_running' } },
    { site: 'stopped', verdict: 'failing', answer: { is: 'no_answer', why: 'the daemon does not answer within 1 s: it is stopped, or busy' } },
  ];
  return { sites: [...running, ...silent], closed: [] };
}

/** Serves the page of all sites beside this site until `work` is done with its address. */
export async function withOverview(site, port, work) {
  const env = { ...site.env(), CONFIGURATION_DIRECTORY: site.dir };
  const overview = spawn(site.binary, ['overview', '--listen', `127.0.0.1:${port}`], { env, stdio: 'ignore' });
  try {
    await work(`http://127.0.0.1:${port}/`);
  } finally {
    overview.kill('SIGTERM');
  }
}

/** Drives the page, which `open` opens. */
export async function driveOverview(open, step, expectAccessible, dir) {
  const page = await open();
  const visible = page.locator('.site:visible');
  await step('the page of all sites has the real site and its nodes', async () => {
    await page.locator('.verdict .badge').getByText('well', { exact: true }).waitFor();
    assert.equal(await visible.count(), 1);
    await visible.locator('.list h3').getByText('local', { exact: true }).waitFor();
    assert.equal(await page.locator('#all b, #all i, #all img').count(), 0, 'a name became markup');
  });
  const told = many();
  await page.route('**/status.json', (route) => route.fulfill({ json: told }));
  await page.reload();
  await step('many sites are shown worst first, and found by verdict and name', async () => {
    await page.getByText(`Of ${told.sites.length} sites`).waitFor();
    assert.equal(await visible.count(), told.sites.length);
    const ranks = ['failing', 'unknown', 'attention', 'well'];
    const shown = await visible.locator('h2').allTextContents();
    const order = shown.map((name) => ranks.indexOf(told.sites.find(({ site }) => site === name).verdict));
    assert.deepEqual(order, [...order].sort(), 'the worst is not first');
    await page.getByRole('button', { name: '1 unknown' }).click();
    assert.deepEqual(await visible.locator('h2').allTextContents(), ['mail']);
    await page.getByRole('button', { name: '1 unknown' }).click();
    await page.getByRole('searchbox').fill('STOP');
    assert.deepEqual(await visible.locator('h2').allTextContents(), ['stopped']);
    await page.getByRole('searchbox').fill('');
  });
  for (const colorScheme of ['light', 'dark']) {
    for (const [size, viewport] of Object.entries(SIZES)) {
      await step(`nothing keeps people from reading it, ${size}, ${colorScheme}`, async () => {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize(viewport);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(wide, 0, 'it is too wide');
        await expectAccessible(page);
        await page.screenshot({ path: path.join(dir, `overview-${size}-${colorScheme}.png`) });
      });
    }
  }
  await page.close();
}
