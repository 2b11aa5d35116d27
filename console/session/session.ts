import { createStore } from '../graphql/store.ts';

/** The credential of this tab. `ended`: the server refuses it now; pages stay, and signing in again continues them. */
type Session = { readonly key: string; readonly hasEnded: boolean } | undefined;

const STORAGE_KEY = 'webhooks-engine.key';

/** In memory and in sessionStorage: never in localStorage, a cookie or a URL. */
export const session = createStore<Session>(read());

export function signIn(key: string): void {
  sessionStorage.setItem(STORAGE_KEY, key);
  session.set({ key, hasEnded: false });
}

export function signOut(): void {
  sessionStorage.removeItem(STORAGE_KEY);
  session.set(undefined);
}

/** Call when the server refuses the credential. */
export function endSession(): void {
  const current = session.get();
  if (current !== undefined && !current.hasEnded) session.set({ ...current, hasEnded: true });
}

function read(): Session {
  const key = sessionStorage.getItem(STORAGE_KEY);
  return key === null ? undefined : { key, hasEnded: false };
}
