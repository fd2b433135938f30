// The page in headless Chromium, beside a real daemon whose nodes sync, pause, fail and recover: node page.mjs INOSYNC DIR.
// Pictures go to DIR. Installs nothing: see `make browser`.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { createRequire } from 'node:module';

import { chromium } from 'playwright-core';

import { pictures } from './gallery.mjs';
import { driveOverview, withOverview } from './overview.mjs';
import { shoot } from './shoot.mjs';
import { answers, DEADLINE, freePort, Site, until } from './site.mjs';

const [binary, dir] = process.argv.slice(2);
const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

let page;
const trouble = []; // What the console said, and what was asked of others.
let daemonIsDown = false;

const step = async (what, work) => {
  const start = Date.now();
  await work();
  console.log(`ok: ${what} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
};
const card = (name) => page.locator('.node').filter({ has: page.locator('h3').getByText(name, { exact: true }) });
const badge = (name, word) => card(name).locator('summary .badge').getByText(word, { exact: true }).waitFor();
const verdict = async (word, sentence) => {
  await page.locator('.verdict .badge').getByText(word, { exact: true }).waitFor();
  await page.locator('#sentence').getByText(sentence).waitFor();
};
const picture = (name) => page.screenshot({ path: path.join(dir, `${name}.png`), fullPage: true });

/** Opens a page whose requests and complaints are watched. */
async function open(browser, address) {
  const opened = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  opened.setDefaultTimeout(DEADLINE);
  opened.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(address) && !url.startsWith('data:')) trouble.push(`asked for ${url}`);
  });
  opened.on('pageerror', (error) => trouble.push(`error: ${error.message}`));
  opened.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !daemonIsDown) trouble.push(`console: ${message.text()}`);
  });
  await opened.goto(address);
  return opened;
}

async function expectAccessible(what, at = page) {
  await at.evaluate(fs.readFileSync(axe, 'utf8'));
  const { violations } = await at.evaluate(() => globalThis.axe.run());
  const said = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html).join(' ')}`);
  assert.deepEqual(said, [], what);
}

/** With a real daemon. */
async function drive(site) {
  await step('at rest both nodes are idle and have everything', async () => {
    await verdict('well', 'Both nodes have everything');
    await badge('local', 'idle');
    await badge(site.remote, 'idle');
    assert.equal(await page.locator('h1').textContent(), site.at('sou<b>rce'));
    assert.equal(await page.locator('#all b, #all i, #all img').count(), 0, 'a name became markup');
    assert.equal(await page.title(), `well: ${site.at('sou<b>rce')} - inosync`);
  });
  await step('a large file is seen on its way, then in the totals and in the list', async () => {
    site.write('large', Buffer.alloc(24 << 20, 'x'));
    await badge('local', 'syncing');
    await badge(site.remote, 'syncing');
    await page.locator('#sentence').getByText('on the').waitFor();
    await picture('real-syncing');
    await verdict('well', 'Both nodes have everything');
    await page.locator('#recent li').filter({ has: page.getByTitle(site.remote, { exact: true }) }).getByText('24.0 MiB').first().waitFor();
    await card('local').getByText(/^\d+ entries, 24 MiB$/).waitFor();
  });
  await step('the plots show it', async () => {
    await card(site.remote).locator('[data-plot=rate] .readout').getByText(/at most .*MiB\/s/).waitFor();
    const line = await card(site.remote).locator('[data-plot=rate] .line').getAttribute('d');
    assert.ok(line.length > 10, line);
    await card(site.remote).locator('.figures').getByText(/^\d\.\d+\.\d+, protocol \d+$/).waitFor();
  });
  await step('a paused node wants attention, until it is resumed', async () => {
    site.ask('pause', 'local');
    site.write('later', 'collected');
    await badge('local', 'paused');
    await verdict('attention', '1 of 2 nodes is paused');
    await card('local').getByText('1 pending').waitFor();
    await picture('real-paused');
    site.ask('resume', 'local');
    await verdict('well', 'Both nodes have everything');
  });
  await step('a hook that fails wants attention, until it succeeds', async () => {
    fs.writeFileSync(site.at('fail'), '');
    site.write('told', 'to the hook');
    await verdict('attention', 'The hook fails for 1 of 2 nodes');
    await card('local').getByText('hook fails', { exact: true }).waitFor();
    await card('local').locator('.callout.hook').getByText('exit code 3: no <i>cache').waitFor();
    await picture('real-hook-fails');
    fs.rmSync(site.at('fail'));
    await verdict('well', 'Both nodes have everything');
    await card('local').locator('.figures').getByText(/^idle, \d+ runs, \d+ failed$/).waitFor();
    await page.locator('#hook').getByText(/^Hook on_all_synced: idle, \d+ runs?$/).waitFor();
  });
  await step('a node that is down fails, and is well when it is back', async () => {
    await site.stopSshd();
    site.write('down', 'while it is down');
    await badge(site.remote, 'backoff');
    await verdict('failing', '1 of 2 nodes does not get what changes');
    await badge('local', 'idle');
    await card(site.remote).locator('.why').getByText(/tried again in|being tried again/).waitFor();
    await page.locator('#errors').check();
    await page.locator('#recent li.is-error').first().waitFor();
    assert.equal(await page.locator('#recent li:not(.is-error)').count(), 0);
    await page.locator('#errors').uncheck();
    await picture('real-failing');
    await site.startSshd();
    await verdict('well', 'Both nodes have everything');
    await badge(site.remote, 'idle');
    await card(site.remote).getByText('Last error').waitFor();
  });
  await step('an empty source holds everything', async () => {
    for (const name of ['seed', 'large', 'later', 'down', 'told']) fs.renameSync(path.join(site.source, name), site.at(`kept-${name}`));
    await badge('local', 'held');
    await verdict('failing', 'Nothing is sent: the source is empty');
    await picture('real-held');
    for (const name of ['seed', 'large', 'later', 'down', 'told']) fs.renameSync(site.at(`kept-${name}`), path.join(site.source, name));
    await verdict('well', 'Both nodes have everything');
  });
  await step('a daemon that does not answer is told, and that it is back', async () => {
    daemonIsDown = true;
    await site.stop();
    await page.locator('#notice').getByText('The daemon does not answer').waitFor();
    await picture('real-stopped');
    await site.start();
    await page.locator('#notice').waitFor({ state: 'hidden' });
    await verdict('well', 'Both nodes have everything');
    daemonIsDown = false;
    assert.equal(await page.locator('.stale').count(), 0);
  });
}

/** The gallery has each key of a node and of a source that the daemon tells. */
function expectWhole() {
  const { node, source } = JSON.parse(fs.readFileSync(new URL('../../docs/schema/status.json', import.meta.url), 'utf8')).$defs;
  const missing = ({ required }, told) => required.filter((key) => !(key in told));
  for (const { name, status } of pictures(0)) {
    assert.deepEqual([...missing(source, status.source), ...status.nodes.flatMap((told) => missing(node, told))], [], name);
  }
}

/** With what a daemon with a hundred nodes would say. */
async function filter(browser, address) {
  const { status, history } = pictures(Math.floor(Date.now() / 1000)).find(({ name }) => name === 'hundred');
  page = await open(browser, address);
  await page.route('**/status.json', (route) => route.fulfill({ json: status }));
  await page.route('**/history.json*', (route) => route.fulfill({ json: history }));
  await page.reload();
  const visible = page.locator('.node:visible');
  await step('a hundred nodes are shown worst first, and found by state and name', async () => {
    await page.getByText('94 idle').waitFor();
    assert.equal(await visible.count(), 100);
    await visible.first().getByText('backoff').waitFor();
    await page.getByRole('button', { name: '2 backoff' }).click();
    assert.equal(await visible.count(), 2);
    await page.getByRole('button', { name: '2 backoff' }).click();
    await page.getByRole('searchbox').fill('EDGE-05');
    assert.equal(await visible.count(), 10);
    await page.getByRole('searchbox').fill('nobody');
    await page.getByText('No node is like that.').waitFor();
    await page.getByRole('searchbox').fill('edge-058');
    await visible.first().locator('summary').click();
    await page.waitForResponse('**/status.json');
    await visible.first().getByText('1,834 batches, 2 reconciles').waitFor();
  });
  await page.close();
}

async function main() {
  fs.mkdirSync(dir, { recursive: true });
  expectWhole();
  const site = await Site.make(binary);
  const address = `http://127.0.0.1:${site.port}/`;
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
  try {
    await site.startSshd();
    await site.start();
    page = await open(browser, address);
    await drive(site);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await step(`nothing keeps people from reading it, ${colorScheme}`, () => expectAccessible(colorScheme));
    }
    await page.close();
    await filter(browser, address);
    await step('pictures are taken, none wider than its window', async () => {
      assert.deepEqual(await shoot(browser, address, dir), []);
    });
    const port = await freePort();
    await withOverview(site, port, async (all) => {
      await until('the page of all sites is served', () => answers(port));
      await driveOverview(() => open(browser, all), step, (at) => expectAccessible('all sites', at), dir);
    });
    assert.deepEqual(trouble, [], 'the page complains, or asks others');
  } catch (error) {
    if (page && !page.isClosed()) await picture('failed').catch(() => {});
    console.error(fs.readFileSync(site.at('log'), 'utf8').split('\n').slice(-30).join('\n'));
    throw error;
  } finally {
    await browser.close();
    await site.end();
  }
  console.log(`pictures: ${dir}`);
}

await main();
