import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** Answers GET and HEAD of `/console/…` and `/portal/…`; `path` is without the query. */
export type ConsolePages = (request: IncomingMessage, response: ServerResponse, path: string) => void;

type Encoding = 'br' | 'gzip' | 'identity';
type File = {
  readonly type: string;
  readonly etag: string;
  readonly bodies: Readonly<Partial<Record<Encoding, Buffer | undefined>>>;
};

/** Folders of the built console: for the compiled program, and for a program that runs from its sources. */
const FOLDERS = [join(import.meta.dirname, '../console'), join(import.meta.dirname, '../../dist/console')];

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const policyFor = (frameAncestors: readonly string[]): string =>
  [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'self'",
    "form-action 'none'",
    `frame-ancestors ${frameAncestors.length === 0 ? "'none'" : frameAncestors.join(' ')}`,
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ');

const SECURITY_HEADERS = {
  'content-security-policy': policyFor([]),
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

type ConsoleOptions = {
  readonly publicUrl: string | undefined;
  /** Origins whose pages may embed the portal. */
  readonly portalOrigins: readonly string[];
};

/**
 * The files of the console and the portal, read once and served from memory: names must match exactly, so no request reaches
 * the file system. Undefined if they have not been built. The pages begin their links with the path of `publicUrl`.
 */
export function createConsolePages(
  { publicUrl, portalOrigins }: ConsoleOptions,
  folders: readonly string[] = FOLDERS,
): ConsolePages | undefined {
  const folder = folders.find((each) => existsSync(join(each, 'index.html')));
  if (folder === undefined) return undefined;
  const assets = readAssets(join(folder, 'assets'));
  const basePath = (publicUrl === undefined ? '' : new URL(publicUrl).pathname).replace(/\/$/, '');
  const page = readPage(join(folder, 'index.html'), { base: `${basePath}/console/`, portalOrigins: [] });
  const portal = {
    file: readPage(join(folder, 'portal.html'), { base: `${basePath}/portal/`, portalOrigins }),
    headers: { 'content-security-policy': policyFor(portalOrigins) },
    cacheControl: 'no-cache',
  };
  const element = {
    file: toFile(readFileSync(join(folder, 'element.js')), '.js'),
    // Pages of other origins load this module, which requires CORS.
    headers: { 'access-control-allow-origin': '*', 'cross-origin-resource-policy': 'cross-origin' },
    cacheControl: 'no-cache',
  };
  return (request, response, path) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { ...SECURITY_HEADERS, allow: 'GET, HEAD' }).end();
    } else if (path === '/portal/element.js') send(request, response, element);
    else if (/^\/(?:console|portal)\/assets\//.test(path)) {
      const file = assets.get(path.split('/assets/')[1] ?? '');
      // 404 instead of the page: after an update, a browser with an old page would run the page as a script.
      if (file === undefined) sendNotFound(response);
      else send(request, response, { file, cacheControl: 'public, max-age=31536000, immutable' });
    } else if (path === '/console' || path.startsWith('/console/')) {
      // The router of the page handles every other path.
      send(request, response, { file: page, cacheControl: 'no-cache' });
    } else if (path === '/portal' || path.startsWith('/portal/')) send(request, response, portal);
    else sendNotFound(response);
  };
}

/** Reads the files of a folder and their compressed forms, which the console's build created. */
function readAssets(folder: string): ReadonlyMap<string, File> {
  const files = new Map<string, File>();
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const type = TYPES[extname(name)];
    if (type === undefined) continue;
    const read = (suffix: string) => {
      const path = join(folder, `${name}${suffix}`);
      return existsSync(path) ? readFileSync(path) : undefined;
    };
    const identity = readFileSync(join(folder, name));
    files.set(name, { type, etag: etagOf(identity), bodies: { identity, br: read('.br'), gzip: read('.gz') } });
  }
  return files;
}

type Placeholders = { readonly base: string; readonly portalOrigins: readonly string[] };

/** Reads a page and fills in the base path of its files and of GraphQL, and the origins from which it accepts tokens. */
function readPage(path: string, { base, portalOrigins }: Placeholders): File {
  const html = readFileSync(path, 'utf8')
    .replace(/<base href="[^"]*">/, () => `<base href="${escaped(base)}">`)
    .replace(/(<meta name="portal-origins" content=")(?=">)/, (start) => start + escaped(portalOrigins.join(' ')));
  return toFile(Buffer.from(html), '.html');
}

function escaped(text: string): string {
  return text.replaceAll(/["&<>]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** The pages are small: Brotli would save few bytes, and take milliseconds of the start. */
function toFile(identity: Buffer, extension: string): File {
  const bodies = { identity, gzip: gzipSync(identity, { level: 9 }) };
  return { type: TYPES[extension] ?? '', etag: etagOf(identity), bodies };
}

function etagOf(content: Buffer): string {
  return `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`;
}

type FileResponse = {
  readonly file: File;
  readonly cacheControl: string;
  readonly headers?: Readonly<Record<string, string>>;
};

function send(
  request: IncomingMessage,
  response: ServerResponse,
  { file, cacheControl, headers: own }: FileResponse,
): void {
  // A weak tag, because the compressed forms share it.
  const etag = `W/${file.etag}`;
  const headers = { ...SECURITY_HEADERS, ...own, etag, 'cache-control': cacheControl, vary: 'accept-encoding' };
  const known = request.headers['if-none-match']?.split(',').map((tag) => tag.trim());
  if (known?.some((tag) => tag === '*' || tag.replace(/^W\//, '') === file.etag) === true) {
    response.writeHead(304, headers).end();
    return;
  }
  const encoding = bestEncoding(file, request.headers['accept-encoding']?.toString() ?? '');
  const body = file.bodies[encoding] ?? Buffer.alloc(0);
  response.writeHead(200, {
    ...headers,
    'content-type': file.type,
    'content-length': body.length,
    ...(encoding !== 'identity' && { 'content-encoding': encoding }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

/** RFC 9110, 12.5.3: a weight of 0 refuses an encoding. */
function bestEncoding({ bodies }: File, accepted: string): Encoding {
  const refused = /^(?:0|0\.0{1,3})$/;
  const names = new Set(
    accepted.split(',').flatMap((entry) => {
      const [name = '', weight = ''] = entry.split(';').map((part) => part.trim().toLowerCase());
      return refused.test(weight.replace(/^q=/, '')) ? [] : [name];
    }),
  );
  if (names.has('br') && bodies.br !== undefined) return 'br';
  return names.has('gzip') && bodies.gzip !== undefined ? 'gzip' : 'identity';
}

function sendNotFound(response: ServerResponse): void {
  response.writeHead(404, {
    ...SECURITY_HEADERS,
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
  });
  response.end('not found\n');
}
