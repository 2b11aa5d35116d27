import { createStore } from '../graphql/store.ts';
import type { Zone } from '../ui/format.ts';

/** The user's settings in this browser; none of them is secret. */
type Preferences = {
  readonly scheme: 'system' | 'light' | 'dark';
  readonly zone: Zone;
  /** Whether pages hide the values of customers' data. */
  readonly hidesValues: boolean;
};

const STORAGE_KEY = 'webhooks-engine.preferences';

export const preferences = createStore<Preferences>(read());

export function setPreferences(change: Partial<Preferences>): void {
  preferences.set({ ...preferences.get(), ...change });
  try {
    localStorage.setItem(STORAGE_KEY, JSON.stringify(preferences.get()));
  } catch {
    // Browsers can block storage in a frame.
  }
  applyScheme();
}

/** Sets the colour scheme of the page around the portal, without storing it. */
export function setScheme(scheme: 'light' | 'dark'): void {
  preferences.set({ ...preferences.get(), scheme });
  applyScheme();
}

/** Call once at the start. */
export function applyScheme(): void {
  const { scheme } = preferences.get();
  if (scheme === 'system') delete document.documentElement.dataset.scheme;
  else document.documentElement.dataset.scheme = scheme;
}

function read(): Preferences {
  try {
    // `as`: each member is checked below.
    const stored = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? '{}') as Partial<Record<keyof Preferences, unknown>>;
    const scheme = stored.scheme === 'light' || stored.scheme === 'dark' ? stored.scheme : 'system';
    return { scheme, zone: stored.zone === 'utc' ? 'utc' : 'local', hidesValues: stored.hidesValues === true };
  } catch {
    return { scheme: 'system', zone: 'local', hidesValues: false };
  }
}
