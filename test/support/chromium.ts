import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Browser, chromium } from 'playwright-core';
import { inject } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

/** The path in CHROMIUM, or Debian's Chromium. Undefined if neither exists; the browser tests are then skipped. */
export const CHROMIUM = [process.env['CHROMIUM'] ?? '', '/usr/bin/chromium'].find(
  (path) => path !== '' && existsSync(path),
);

export const NO_CHROMIUM = 'no Chromium: "apt-get install chromium" installs it, or CHROMIUM names its program';

export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    ...(CHROMIUM !== undefined && { executablePath: CHROMIUM }),
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
      // Without these flags, Chromium contacts hosts of its vendor at each start.
      ...['--disable-background-networking', '--disable-component-update'],
      // The pages of a profile share what they have compiled.
      '--process-per-site',
    ],
  });
}

let built: Promise<void> | undefined;

/** Builds the pages into dist/console, as `npm run build` does, unless they are already built. */
export function buildConsole(): Promise<void> {
  return (built ??= inject('isBuilt') ? Promise.resolve() : build());
}

async function build(): Promise<void> {
  const bundler = join(ROOT, 'node_modules/vite/bin/vite.js');
  const args = [bundler, 'build', join(ROOT, 'console'), '--logLevel', 'error'];
  await promisify(execFile)(process.execPath, args);
}
