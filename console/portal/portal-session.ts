import { createStore } from '../graphql/store.ts';
import { exchangeCode, requestGraphql, takeCode } from '../session/request.ts';
import { renew, session, signIn } from '../session/session.ts';
import { setScheme } from '../shell/preferences.ts';
import { setLocale } from '../ui/format.ts';

/**
 * Why there is no session: it is awaited, its link was used or expired, the server is unreachable, none was offered, or the page
 * around the portal has given no valid token so far.
 */
type Absence = 'waiting' | 'linkUsed' | 'unreachable' | 'noSession' | 'noToken';

export const absence = createStore<Absence>('waiting');

const RENEW_BEFORE_MS = 60_000;
/** Retry delay in milliseconds if the page around the portal has no token or the server is unreachable. */
const RETRY_MS = 5_000;
/** Milliseconds without a token after which the portal says so. */
const TOKEN_LIMIT_MS = 10_000;
/** The longest delay of a timer in milliseconds: a longer one ends at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** Finds the session: of a one-time link, of the page around the portal, or stored before a reload. */
export async function findSession(): Promise<void> {
  const code = takeCode();
  if (code !== undefined) await signInWithCode(code);
  else if (window.parent !== window) awaitPort();
  else if (session.get() === undefined) absence.set('noSession');
  const key = session.get()?.key;
  if (key !== undefined) await readLifetime(key).catch(() => undefined);
}

async function signInWithCode(code: string): Promise<void> {
  try {
    const token = await exchangeCode(code);
    if (token === undefined) absence.set('linkUsed');
    else signIn(token);
  } catch {
    absence.set('unreachable');
  }
}

/** Accepts a port from the page around the portal if its origin is listed. */
function awaitPort(): void {
  const listed = document.querySelector<HTMLMetaElement>('meta[name="portal-origins"]')?.content.split(' ') ?? [];
  window.addEventListener('message', ({ origin, source, data, ports: [port] }: MessageEvent<unknown>) => {
    if (source !== window.parent || !listed.includes(origin) || port === undefined) return;
    const { scheme } = (data ?? {}) as { readonly scheme?: unknown };
    if (scheme === 'light' || scheme === 'dark') setScheme(scheme);
    keepSession(port);
  });
  window.setTimeout(() => absence.set('noToken'), TOKEN_LIMIT_MS);
}

/** Asks for a token, and for the next one a minute before it expires. There is one request at a time. */
export function keepSession(port: MessagePort): void {
  let timer: number | undefined;
  let isAsking = false;
  const ask = () => {
    if (isAsking) return;
    isAsking = true;
    window.clearTimeout(timer);
    port.postMessage({});
  };
  const askAfter = (ms: number) => {
    timer = window.setTimeout(ask, Math.min(ms, MAX_DELAY_MS));
  };
  port.onmessage = async ({ data }: MessageEvent<{ readonly token?: unknown } | null>) => {
    const token = typeof data?.token === 'string' ? data.token : undefined;
    const lifetimeMs = token === undefined ? undefined : await readLifetime(token).catch(() => undefined);
    isAsking = false;
    if (token === undefined || lifetimeMs === undefined) {
      absence.set('noToken');
      askAfter(RETRY_MS);
      return;
    }
    if (lifetimeMs !== Number.POSITIVE_INFINITY) askAfter(Math.max(lifetimeMs / 2, lifetimeMs - RENEW_BEFORE_MS));
    renew(token);
  };
  // The computer may have slept until the session had ended.
  session.subscribe(() => {
    if (session.get()?.hasEnded === true) ask();
  });
  ask();
}

type Viewer = { readonly expiresAt: string | null; readonly locale: string | null };

/** Milliseconds until the session expires, by the server's clock: infinite for never; undefined if the server refuses it. */
async function readLifetime(token: string): Promise<number | undefined> {
  const query = '{ viewer { expiresAt locale } server { time } }';
  const { data } = await requestGraphql<{ viewer: Viewer; server: { time: string } }>({ query, token });
  if (data == null) return undefined;
  const { expiresAt, locale } = data.viewer;
  setLocale(locale ?? navigator.language);
  return expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(expiresAt) - Date.parse(data.server.time);
}
