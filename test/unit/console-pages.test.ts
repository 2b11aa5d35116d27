import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createConsolePages } from '../../src/server/console.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';

const ORIGINS = ['https://app.example.com', 'http://localhost:3000'];
const SCRIPT = 'console.log("a script")';
let folder: TempFolder;
const servers: { close(): void }[] = [];

beforeAll(async () => {
  folder = await createTempFolder();
  await mkdir(join(folder.path, 'assets'));
  await writeFile(join(folder.path, 'index.html'), '<!doctype html><base href="/console/"><title>Console</title>');
  const portal = '<!doctype html><base href="/portal/"><meta name="portal-origins" content=""><title>Portal</title>';
  await writeFile(join(folder.path, 'portal.html'), portal);
  await writeFile(join(folder.path, 'element.js'), SCRIPT);
  await writeFile(join(folder.path, 'assets/index-1.js'), SCRIPT);
  await writeFile(join(folder.path, 'assets/index-1.js.gz'), gzipSync(SCRIPT));
  await writeFile(join(folder.path, 'assets/index-1.js.map'), '{}');
  await writeFile(join(folder.path, 'secret.txt'), 'secret');
});
afterAll(async () => {
  for (const server of servers) server.close();
  await folder.remove();
});

async function serve(publicUrl?: string): Promise<string> {
  const pages = createConsolePages({ publicUrl, portalOrigins: ORIGINS }, [folder.path]);
  const server = createServer((request, response) => {
    pages?.(request, response, request.url?.split('?', 1)[0] ?? '');
  });
  servers.push(server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  // `as`: a server on TCP.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('every path of the router returns the page, with a policy against inline code and other origins', async () => {
  const url = await serve();
  for (const path of ['/console', '/console/', '/console/deliveries/1', '/console/log?q=a']) {
    const response = await fetch(`${url}${path}`);
    expect([path, response.status, await response.text()]).toEqual([path, 200, expect.stringContaining('<title>')]);
    expect(response.headers.get('cache-control')).toBe('no-cache');
    const policy = response.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
    expect(policy).toContain("frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'");
    expect(policy).not.toContain('unsafe');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('referrer-policy')).toBe('no-referrer');
  }
});

test('a hashed file is immutable and has the best encoding that the client accepts', async () => {
  const url = await serve();
  const get = (encoding: string) =>
    fetch(`${url}/console/assets/index-1.js`, { headers: { 'accept-encoding': encoding } });
  const encodings = { 'gzip, br': 'gzip', 'br, gzip;q=0': null, identity: null, 'gzip;q=0.5': 'gzip' };
  for (const [accepted, sent] of Object.entries(encodings)) {
    const response = await get(accepted);
    expect([accepted, response.headers.get('content-encoding')]).toEqual([accepted, sent]);
    expect(await response.text()).toBe(SCRIPT);
    expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    expect(response.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
  }
});

test('a page is compressed with gzip', async () => {
  const url = await serve();
  for (const path of ['/console/', '/portal/', '/portal/element.js']) {
    const response = await fetch(`${url}${path}`, { headers: { 'accept-encoding': 'br, gzip' } });
    expect([path, response.headers.get('content-encoding')]).toEqual([path, 'gzip']);
    expect(await response.text()).toContain(path === '/portal/element.js' ? SCRIPT : '<title>');
  }
});

test('a known ETag is answered with 304, and other methods are rejected', async () => {
  const url = await serve();
  const etag = (await fetch(`${url}/console/`)).headers.get('etag') ?? '';
  const again = await fetch(`${url}/console/`, { headers: { 'if-none-match': `"other", ${etag}` } });
  expect([again.status, await again.text()]).toEqual([304, '']);
  const head = await fetch(`${url}/console/`, { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([200, '']);
  expect((await fetch(`${url}/console/`, { method: 'POST' })).status).toBe(405);
});

test('no request reads outside the folder of the files, and a missing file is a 404', async () => {
  const url = await serve();
  const names = [
    'missing.js',
    'index-1.js.map',
    'index-1.js.gz',
    '../secret.txt',
    '..%2fsecret.txt',
    '',
    'constructor',
  ];
  for (const name of names) expect([name, await rawStatus(url, `/console/assets/${name}`)]).toEqual([name, 404]);
});

/** Sends the path unchanged; fetch() would resolve `..`. */
function rawStatus(url: string, path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    send(url, { path }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end();
  });
}

test('behind a path prefix, links begin with the path of the public URL', async () => {
  const baseOf = async (publicUrl?: string) => {
    const page = await (await fetch(`${await serve(publicUrl)}/console/`)).text();
    return /<base href="([^"]*)">/.exec(page)?.[1];
  };
  expect(await baseOf()).toBe('/console/');
  expect(await baseOf('https://example.com')).toBe('/console/');
  expect(await baseOf('https://example.com/hooks/v1')).toBe('/hooks/v1/console/');
});

test('without a build there are no pages', () => {
  expect(
    createConsolePages({ publicUrl: undefined, portalOrigins: [] }, [join(folder.path, 'missing')]),
  ).toBeUndefined();
});

test('listed origins may frame the portal and nothing may frame the console; every page may load the element', async () => {
  const url = await serve('https://hooks.example.com/engine/');
  const portal = await fetch(`${url}/portal/subscriptions/1`);
  const policy = portal.headers.get('content-security-policy') ?? '';
  expect(policy).toContain(`frame-ancestors ${ORIGINS.join(' ')}; require-trusted-types-for 'script'`);
  expect(await portal.text()).toContain(
    `<base href="/engine/portal/"><meta name="portal-origins" content="${ORIGINS.join(' ')}">`,
  );
  const page = await fetch(`${url}/console/`);
  expect(page.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
  expect(await page.text()).not.toContain('app.example.com');
  const element = await fetch(`${url}/portal/element.js`);
  expect(await element.text()).toBe(SCRIPT);
  expect(element.headers.get('access-control-allow-origin')).toBe('*');
  expect(element.headers.get('cross-origin-resource-policy')).toBe('cross-origin');
  expect((await fetch(`${url}/portal/assets/index-1.js`)).status).toBe(200);
  expect((await fetch(`${url}/portal/assets/none.js`)).status).toBe(404);
});
