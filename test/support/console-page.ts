import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { WAIT_TIMEOUT_MS } from './wait-for.ts';

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

export type ConsolePage = {
  readonly page: Page;
  readonly context: BrowserContext;
  /** The page's errors and its violations of the content security policy. */
  readonly complaints: string[];
};

type Options = {
  /** The URL of the server, with its path prefix. */
  readonly url: string;
  /** The path below `/console`. */
  readonly path: string;
  /** The API key to sign in with. Empty: the page is not signed in. */
  readonly key: string;
  readonly scheme?: 'light' | 'dark' | undefined;
  readonly width?: number | undefined;
  /** The browser profile; without it, the page gets one of its own, as the first visit of a person has. */
  readonly profile?: BrowserContext | undefined;
};

/** Opens a page of the console. */
export async function openConsole(browser: Browser, options: Options): Promise<ConsolePage> {
  const { url, path, key, scheme = 'light', width = 1280 } = options;
  const context = options.profile ?? (await createProfile(browser));
  const page = await context.newPage();
  await page.emulateMedia({ colorScheme: scheme });
  await page.setViewportSize({ width, height: 800 });
  const complaints: string[] = [];
  page.on('pageerror', ({ message }) => complaints.push(message));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('dialog', (dialog) => complaints.push(`dialog ${dialog.message()}`));
  const script = `sessionStorage.getItem('webhooks-engine.key') ?? sessionStorage.setItem('webhooks-engine.key', ${JSON.stringify(key)})`;
  if (key !== '') await page.addInitScript({ content: script });
  await page.goto(`${url}/console${path}`);
  return { page, context, complaints };
}

/**
 * A browser profile in which the pages of a server share one process: a page then takes half the CPU time to load, since
 * scripts and axe are compiled once. Each page has a session of its own; preferences are shared.
 */
export async function createSharedProfile(browser: Browser, url: string): Promise<BrowserContext> {
  const profile = await createProfile(browser);
  // The process ends with its last page.
  await (await profile.newPage()).goto(`${url}/health/live`);
  return profile;
}

async function createProfile(browser: Browser): Promise<BrowserContext> {
  const profile = await browser.newContext();
  profile.setDefaultTimeout(WAIT_TIMEOUT_MS);
  return profile;
}

/**
 * Returns the violations of axe's accessibility rules in the part of the page that the selector matches. Runs over the
 * browser's protocol, because the content security policy blocks injected scripts.
 */
export async function findBarriers(page: Page, part = 'html'): Promise<unknown[]> {
  if (await page.evaluate<boolean>('globalThis.axe === undefined')) await page.evaluate(await readFile(AXE, 'utf8'));
  return page.evaluate<unknown[]>(
    `axe.run(${JSON.stringify(part)}, { resultTypes: ['violations'] }).then(({ violations }) => violations.map(({ id, nodes }) => ({ id, nodes: nodes.slice(0, 3).map(({ html, failureSummary }) => html.slice(0, 200) + failureSummary) })))`,
  );
}

/**
 * Returns the links, buttons and fields that are cut off at the left or right of the page, where no container scrolls
 * them into view.
 */
export async function findCutOff(page: Page): Promise<string[]> {
  return page.evaluate<string[]>(
    `[...document.querySelectorAll(${JSON.stringify(FOCUSABLE)})].filter((element) => {
      const { left, right, width } = element.getBoundingClientRect();
      if (width < 2 || (left >= 0 && right <= innerWidth)) return false;
      if (!element.checkVisibility({ visibilityProperty: true })) return false;
      for (let around = element.parentElement; around !== null; around = around.parentElement)
        if (['auto', 'scroll'].includes(getComputedStyle(around).overflowX) && around.scrollWidth > around.clientWidth) return false;
      return true;
    }).map(({ outerHTML }) => outerHTML.slice(0, 200))`,
  );
}

/** Returns the lists and tables that are wider than their view, with the number of CSS pixels that are out of it. */
export async function findWideLists(page: Page): Promise<string[]> {
  return page.evaluate<string[]>(
    `[...document.querySelectorAll('[role=grid], [role=treegrid], [role=group]:has(> table)')].flatMap((list) => {
      const row = list.querySelector('[role=row], tbody > tr');
      const end = Math.max(...[...row.children].map((cell) => cell.getBoundingClientRect().right));
      const cutOff = Math.round(end - list.getBoundingClientRect().left - list.clientWidth);
      return cutOff > 0 ? [list.getAttribute('aria-label') + ': ' + cutOff] : [];
    })`,
  );
}

/** Returns by how many CSS pixels the page, or its content, is wider than the window. */
export async function findOverflow(page: Page): Promise<number> {
  return page.evaluate<number>(
    "Math.max(...[document.documentElement, document.querySelector('main')].map(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth))",
  );
}

/** Shows another page of the console without loading its files again. */
export async function goTo(page: Page, url: string): Promise<void> {
  await page.evaluate(`history.pushState(null, '', ${JSON.stringify(url)})`);
}

const MAX_TABS = 200;

/**
 * Moves the focus with the Tab key until it is on the element. The page is not asked after each press: the presses are
 * estimated, and the page ignores those after the one that reaches the element.
 */
export async function tabTo(page: Page, target: Locator): Promise<void> {
  await target.waitFor();
  for (let tabs = 0; tabs < MAX_TABS; ) {
    const estimate = await target.evaluate(ignoreTabAt, FOCUSABLE);
    for (let index = 0; index < estimate; index += 1) await page.keyboard.press('Tab');
    if (await page.evaluate<boolean>('globalThis.heedTab()')) return;
    tabs += estimate;
  }
  throw new Error(`${MAX_TABS} presses of Tab do not reach ${String(target)}`);
}

const FOCUSABLE = 'a[href], button, input, select, summary, textarea, [tabindex]';

/**
 * Runs in the page. Ignores Tab while the element has the focus, until `heedTab` is called, which returns whether it has
 * the focus. Returns the number of focusable elements up to this one, in the order of the document: 0 if it has the focus.
 */
function ignoreTabAt(target: HTMLElement | SVGElement, focusable: string): number {
  const isFocused = () => document.activeElement === target;
  const end = new AbortController();
  const onKey = (event: KeyboardEvent) => {
    if (event.key !== 'Tab' || !isFocused()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  addEventListener('keydown', onKey, { capture: true, signal: end.signal });
  Object.assign(globalThis, {
    heedTab: () => {
      end.abort();
      return isFocused();
    },
  });
  if (isFocused()) return 0;
  const elements = [...document.querySelectorAll<HTMLElement>(focusable)].filter(
    (element) => element.tabIndex >= 0 && !element.matches(':disabled, [inert] *') && element.checkVisibility(),
  );
  const placeOf = (element: Element | null) => elements.findIndex((one) => one === element);
  const [from, to] = [placeOf(document.activeElement), placeOf(target)];
  // After the last element, the focus can leave the page before it returns to the first.
  return to > from ? to - from : Math.max(1, elements.length - from + to + 1);
}

/** Moves the focus to a control with the Tab key, and presses Enter. */
export async function press(page: Page, control: Locator): Promise<void> {
  await tabTo(page, control);
  await page.keyboard.press('Enter');
}

/** Opens the row under the cursor of the page's list, once there are rows: Enter does nothing in an empty list. */
export async function openRow(page: Page): Promise<void> {
  await page.locator('[role=grid] [aria-selected]').first().waitFor();
  await press(page, page.getByRole('grid'));
}
