import { createStore } from '../graphql/store.ts';
import { IS_PORTAL } from '../shell/front-end.ts';
import { requestGraphql } from './request.ts';

/**
 * The credential of this tab. Another `id` means another sign-in, for which the clients are created again. `hasEnded`: the
 * server now rejects the credential; pages are kept, and continue if the same viewer signs in.
 */
type Session = { readonly id: number; readonly key: string; readonly hasEnded: boolean } | undefined;

/** A tab can show the console and then the portal: neither continues with the session of the other. */
const STORAGE_KEY = IS_PORTAL ? 'webhooks-engine.portal-key' : 'webhooks-engine.key';

let lastId = 0;

/** In memory and in sessionStorage: never in localStorage, a cookie or a URL. */
export const session = createStore<Session>(read());

/** `isStored`: whether a reload of the tab finds the credential again. */
export function signIn(key: string, { isStored = true } = {}): void {
  if (isStored) store(key);
  lastId += 1;
  session.set({ id: lastId, key, hasEnded: false });
}

/** Replaces the credential by a new one of the same person. Pages and streams continue. */
export function renew(key: string): void {
  const current = session.get();
  if (current === undefined || current.hasEnded) signIn(key, { isStored: false });
  else session.set({ ...current, key });
}

/** Revokes the session, and deletes it locally even if the server cannot be reached. */
export function signOut(): void {
  const key = session.get()?.key;
  store(undefined);
  session.set(undefined);
  if (key === undefined) return;
  requestGraphql({ query: 'mutation { endSession { __typename } }', token: key }).catch(() => undefined);
}

/** Called when the server rejects the credential. */
export function endSession(): void {
  const current = session.get();
  if (current !== undefined && !current.hasEnded) session.set({ ...current, hasEnded: true });
}

/** Stores the key for a reload. Browsers can block storage in a frame; a reload then needs another credential. */
function store(key: string | undefined): void {
  try {
    if (key === undefined) sessionStorage.removeItem(STORAGE_KEY);
    else sessionStorage.setItem(STORAGE_KEY, key);
  } catch {
    // See above.
  }
}

/** An embedded portal waits for the token from the page around it. */
function read(): Session {
  if (window.parent !== window) return undefined;
  try {
    const key = sessionStorage.getItem(STORAGE_KEY);
    return key === null ? undefined : { id: lastId, key, hasEnded: false };
  } catch {
    return undefined;
  }
}
