import { useSyncExternalStore } from 'react';
import { useStore } from '../graphql/store.ts';
import { preferences } from '../shell/preferences.ts';
import { countdown, exactTime, relativeTime } from './format.ts';
import styles from './time.module.css';

let nowMs = Date.now();
const listeners = new Set<() => void>();
let timer: number | undefined;

/** One timer for all times of a page, which runs only while one is shown. */
function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  nowMs = Date.now();
  timer ??= window.setInterval(() => {
    nowMs = Date.now();
    for (const each of listeners) each();
  }, 1_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    window.clearInterval(timer);
    timer = undefined;
  };
}

/** The current time in milliseconds, renewed each second, or rounded down to a multiple of `stepMs`. */
export function useNow(stepMs = 1): number {
  return useSyncExternalStore(subscribe, () => {
    // The timer renews it, which does not run before a time is shown.
    if (timer === undefined && Date.now() - nowMs >= 1_000) nowMs = Date.now();
    return nowMs - (nowMs % stepMs);
  });
}

/** A time relative to now, with the exact one as tooltip and on focus. */
export function Time({ at }: { readonly at: string }) {
  const now = useNow();
  const { zone } = useStore(preferences);
  const ms = Date.parse(at);
  const exact = exactTime(ms, zone);
  return (
    <time dateTime={at} title={exact} className={styles.time}>
      {relativeTime(ms, now)}
    </time>
  );
}

/** The exact time with milliseconds and zone. */
export function ExactTime({ at }: { readonly at: string }) {
  const { zone } = useStore(preferences);
  const now = useNow();
  const ms = Date.parse(at);
  return (
    <time dateTime={at} title={relativeTime(ms, now)} className={styles.time}>
      {exactTime(ms, zone)}
    </time>
  );
}

/** The time until `at` as `0:42`. */
export function Countdown({ to }: { readonly to: string }) {
  return <span className={styles.time}>{countdown(Date.parse(to) - useNow())}</span>;
}
