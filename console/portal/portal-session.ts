import { createStore } from '../graphql/store.ts';
import { exchangeCode, requestGraphql, takeCode } from '../session/request.ts';
import { renew, session, signIn } from '../session/session.ts';
import { setScheme } from '../shell/preferences.ts';
import { setLocale } from '../ui/format.ts';

/** Why there is no session: it is awaited, its link was used or expired, the server is unreachable, or none was offered. */
type Absence = 'waiting' | 'linkUsed' | 'unreachable' | 'noSession';

export const absence = createStore<Absence>('waiting');

const RENEW_BEFORE_MS = 60_000;
/** Retry delay in milliseconds if the page around the portal has no token or the server is unreachable. */
const RETRY_MS = 5_000;

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
}

/** Asks for a token, and for the next one a minute before it expires. */
function keepSession(port: MessagePort): void {
  let timer: number | undefined;
  const ask = () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(ask, RETRY_MS);
    port.postMessage({});
  };
  port.onmessage = async ({ data }: MessageEvent<{ readonly token?: unknown } | null>) => {
    if (typeof data?.token !== 'string') return;
    const { token } = data;
    const lifetimeMs = await readLifetime(token).catch(() => undefined);
    // The token was rejected or could not be checked: request another one when the timer ends.
    if (lifetimeMs === undefined) return;
    window.clearTimeout(timer);
    timer = window.setTimeout(ask, Math.max(lifetimeMs / 2, lifetimeMs - RENEW_BEFORE_MS));
    renew(token);
  };
  // The computer may have slept until the session had ended.
  session.subscribe(() => {
    if (session.get()?.hasEnded === true) ask();
  });
  ask();
}

type Viewer = { readonly expiresAt: string | null; readonly locale: string | null };

/** Milliseconds until the session expires, by the server's clock; undefined if the server refuses it. */
async function readLifetime(token: string): Promise<number | undefined> {
  const query = '{ viewer { expiresAt locale } server { time } }';
  const { data } = await requestGraphql<{ viewer: Viewer; server: { time: string } }>({ query, token });
  if (data == null) return undefined;
  const { expiresAt, locale } = data.viewer;
  setLocale(locale ?? navigator.language);
  return expiresAt === null ? Number.MAX_SAFE_INTEGER : Date.parse(expiresAt) - Date.parse(data.server.time);
}
