import { SLOT_HORIZON_MS } from './rate-slots.ts';
import type { DueQueue, QueueChange } from './state.ts';

/** How many of a subscription's due deliveries to publish now, and how. */
export type Release = {
  readonly subscriptionId: string;
  readonly count: number;
  readonly isProbe: boolean;
  /** With a rate limit: when to send the first one, in milliseconds from now, and how far apart the others. */
  readonly pace: { readonly firstInMs: number; readonly gapMs: number } | undefined;
  /** When to look again if something that is due is left. */
  readonly recheckMs: number;
  readonly publishWindow: number | null;
};

/** While a backlog gets smaller, it is looked after so often; while it does not, so often. */
export const RECHECK_MS = 100;
const STUCK_RECHECK_MS = 250;
/** With a rate limit: what is released at one look lasts beyond the next. */
const PACED_RECHECK_MS = SLOT_HORIZON_MS / 2;
/** An open circuit that nothing was due to probe is looked after so often. */
const IDLE_PROBE_MS = 30_000;
const MAX_PROBE_WAIT_MS = 3_600_000;
const MAX_WINDOW = 2_000;
/** How many times what may be in flight is released at first. */
const FIRST_WINDOW_FACTOR = 8;

/**
 * Lets as many deliveries out of Postgres as the subscription can take. Without a backlog, that is what has become due.
 * With one, so many may be on their way at a time: a few times maxInFlight at first, or one after its circuit was open;
 * twice as many whenever all of them have been attempted by the next look, half as many when the senders had no room
 * for one (see requeueAtLimit). A rate limit also gives moments to send at. An open circuit lets out one probe at a
 * time, after waits that double up to an hour.
 */
export function planRelease(queue: DueQueue, maxCount: number): Release {
  const { subscriptionId, maxInFlight, rateLimitPerSecond, probe } = queue;
  const plan = {
    subscriptionId,
    count: 0,
    isProbe: false,
    pace: undefined,
    recheckMs: RECHECK_MS,
    publishWindow: null,
  };
  if (!queue.isActive) return plan;
  if (probe !== null) {
    const recheckMs = Math.max(RECHECK_MS, Math.ceil(probe.inMs));
    return { ...plan, count: probe.inMs <= 0 ? 1 : 0, isProbe: true, recheckMs, publishWindow: 1 };
  }
  const bounded = (count: number) => Math.min(maxCount, Math.max(0, count));
  if (rateLimitPerSecond !== null) {
    const pace = { firstInMs: queue.nextSlotInMs, gapMs: 1_000 / rateLimitPerSecond };
    const slots = Math.ceil((SLOT_HORIZON_MS - pace.firstInMs) / pace.gapMs);
    const publishWindow = nextPacedWindow(queue, rateLimitPerSecond + maxInFlight);
    const recheckMs = Math.max(PACED_RECHECK_MS, Math.ceil(pace.gapMs));
    return { ...plan, count: bounded(Math.min(slots, roomIn(publishWindow, queue))), pace, recheckMs, publishWindow };
  }
  const publishWindow = nextWindow(queue);
  const count = bounded(roomIn(publishWindow, queue));
  return { ...plan, count, publishWindow, recheckMs: count > 0 ? RECHECK_MS : STUCK_RECHECK_MS };
}

/** What a killed sender keeps takes no room, unless that is a great deal: perhaps it just waits for senders that are busy. */
function roomIn(window: number, { isBacklogged, maxInFlight, liveCount, expectedCount }: DueQueue): number {
  if (!isBacklogged) return window;
  return Math.min(window - expectedCount, window + maxInFlight * FIRST_WINDOW_FACTOR - liveCount);
}

function nextWindow(queue: DueQueue): number {
  const { maxInFlight, publishWindow, isBacklogged } = queue;
  if (publishWindow === null) return maxInFlight * FIRST_WINDOW_FACTOR;
  return isBacklogged && isAttempted(queue) ? Math.min(MAX_WINDOW, publishWindow * 2) : publishWindow;
}

/** Whether nothing that was released is waiting for its attempt. */
function isAttempted({ maxInFlight, liveCount, expectedCount }: DueQueue): boolean {
  return expectedCount === 0 && liveCount <= maxInFlight * FIRST_WINDOW_FACTOR;
}

/** With a rate limit some are always on their way, so half of them gone is enough to let out more. */
function nextPacedWindow({ publishWindow, expectedCount }: DueQueue, most: number): number {
  if (publishWindow === null) return most;
  return Math.min(most, expectedCount * 2 <= publishWindow ? publishWindow * 2 : publishWindow);
}

/** What to note about the subscription, given how many deliveries there really were to release. */
export function changeAfter(
  { probe }: DueQueue,
  { release, released }: { readonly release: Release; readonly released: number },
): QueueChange {
  const { subscriptionId, pace, recheckMs, publishWindow } = release;
  const change = { subscriptionId, recheckMs, publishWindow, mustRecheck: probe !== null };
  const nextSlotInMs = pace === undefined || released === 0 ? null : pace.firstInMs + released * pace.gapMs;
  if (probe === null || release.count === 0) return { ...change, nextSlotInMs, nextProbeInMs: null };
  if (released === 0) return { ...change, recheckMs: IDLE_PROBE_MS, nextSlotInMs, nextProbeInMs: null };
  const nextProbeInMs = Math.min(MAX_PROBE_WAIT_MS, probe.waitMs * 2);
  return { ...change, recheckMs: nextProbeInMs, nextSlotInMs, nextProbeInMs };
}
