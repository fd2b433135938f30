// Pictures of the page as the daemon might have it: phone and desktop, light and dark.

import path from 'node:path';

import { pictures } from './gallery.mjs';

/** The windows of the pictures. */
export const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 360, height: 780 } };

/** Takes them all into a directory; gives back what is wrong with any. */
export async function shoot(browser, address, dir, only = () => true) {
  const wrong = [];
  for (const { name, status, history } of pictures(Math.floor(Date.now() / 1000))) {
    for (const [size, viewport] of Object.entries(SIZES)) {
      for (const colorScheme of ['light', 'dark']) {
        const title = `${name}-${size}-${colorScheme}`;
        if (!only(title)) continue;
        const page = await browser.newPage({ viewport, colorScheme, deviceScaleFactor: size === 'phone' ? 2 : 1 });
        await page.route('**/status.json', (route) => route.fulfill({ json: status }));
        await page.route('**/history.json*', (route) => route.fulfill({ json: history }));
        await page.goto(address);
        await page.getByText(status.wpath, { exact: true }).waitFor();
        await page.locator('.node').first().waitFor();
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (wide > 0) wrong.push(`${title} is ${wide} px too wide`);
        await page.screenshot({ path: path.join(dir, `${title}.png`), fullPage: name !== 'hundred' });
        await page.close();
      }
    }
  }
  return wrong;
}
