import { SEND_TIME_HORIZON_MS } from './send-times.ts';
import type { DueQueue, QueueChange } from './state.ts';

/** The due deliveries of a subscription to publish now. */
export type Release = {
  readonly subscriptionId: string;
  readonly count: number;
  readonly isProbe: boolean;
  /** With a rate limit: milliseconds until the first delivery is sent, and between two deliveries. */
  readonly sendTimes: { readonly firstInMs: number; readonly gapMs: number } | undefined;
  /** Milliseconds until the next sweep if due deliveries are left. */
  readonly recheckMs: number;
  readonly publishWindow: number | null;
};

/** Milliseconds between two sweeps of a subscription with a backlog: if the last one released deliveries, and if not. */
export const RECHECK_MS = 50;
const STUCK_RECHECK_MS = 250;
/**
 * Milliseconds between two sweeps that release deliveries into a window smaller than the first one. The window doubles with
 * each sweep, after an open circuit from 1 on.
 */
const RAMP_UP_RECHECK_MS = 100;
/**
 * Milliseconds between two sweeps of a subscription with a rate limit. Shorter than SEND_TIME_HORIZON_MS, so that the
 * deliveries of one release last beyond the next release.
 */
const RATE_LIMITED_RECHECK_MS = SEND_TIME_HORIZON_MS / 2;
/** Milliseconds between two sweeps of a subscription with an open circuit and no due delivery to probe with. */
const IDLE_PROBE_MS = 30_000;
const MAX_PROBE_WAIT_MS = 3_600_000;
/** The part by which a wait is shortened at most, so that circuits that opened together are not probed together. */
const PROBE_JITTER = 0.2;
/** Milliseconds between two sweeps of a paused subscription. A resumed one is swept at once. */
const MAX_PAUSED_RECHECK_MS = 3_600_000;
/** Maximum deliveries of a subscription that are published and not attempted. */
const MAX_WINDOW = 2_000;
/** The first window, as a multiple of maxInFlight. */
const FIRST_WINDOW_FACTOR = 8;

/**
 * Decides how many queued deliveries a subscription can take. Without a backlog, those that have become due. With a
 * backlog, as many as its window allows to be published at a time: a few times maxInFlight at first, 1 after its circuit
 * was open. The window doubles whenever all of them have been attempted by the next sweep, and is halved when a sender
 * had no room for one (requeueAtLimit). With a rate limit, deliveries also get send times. An open circuit releases one
 * probe at a time, after waits that double up to an hour. A pause releases nothing.
 */
export function planRelease(queue: DueQueue, maxCount: number): Release {
  const { subscriptionId, maxInFlight, rateLimitPerSecond, probe } = queue;
  const plan = {
    subscriptionId,
    count: 0,
    isProbe: false,
    sendTimes: undefined,
    recheckMs: RECHECK_MS,
    publishWindow: null,
  };
  if (isPaused(queue)) {
    return { ...plan, recheckMs: Math.min(MAX_PAUSED_RECHECK_MS, Math.ceil(queue.pausedForMs ?? 0)) };
  }
  if (!queue.isActive) return plan;
  if (probe !== null) {
    const recheckMs = Math.max(RECHECK_MS, Math.ceil(probe.inMs));
    return { ...plan, count: probe.inMs <= 0 ? 1 : 0, isProbe: true, recheckMs, publishWindow: 1 };
  }
  const bounded = (count: number) => Math.min(maxCount, Math.max(0, count));
  if (rateLimitPerSecond !== null) {
    const sendTimes = { firstInMs: queue.nextSendInMs, gapMs: 1_000 / rateLimitPerSecond };
    const freeTimes = Math.ceil((SEND_TIME_HORIZON_MS - sendTimes.firstInMs) / sendTimes.gapMs);
    const publishWindow = nextRateLimitedWindow(queue, rateLimitPerSecond + maxInFlight);
    const recheckMs = Math.max(RATE_LIMITED_RECHECK_MS, Math.ceil(sendTimes.gapMs));
    const count = bounded(Math.min(freeTimes, roomIn(publishWindow, queue)));
    return { ...plan, count, sendTimes, recheckMs, publishWindow };
  }
  const publishWindow = nextWindow(queue);
  const count = bounded(roomIn(publishWindow, queue));
  if (count === 0) return { ...plan, count, publishWindow, recheckMs: STUCK_RECHECK_MS };
  const isRampingUp = publishWindow < maxInFlight * FIRST_WINDOW_FACTOR;
  return { ...plan, count, publishWindow, recheckMs: isRampingUp ? RAMP_UP_RECHECK_MS : RECHECK_MS };
}

/** Also true for an inactive subscription, which is still paused when it is activated again. */
function isPaused({ pausedForMs }: DueQueue): boolean {
  return pausedForMs !== null && pausedForMs > 0;
}

/**
 * The number of deliveries that still fit into a window. Deliveries whose attempt is no longer expected (their sender
 * was killed) do not count, up to a limit, because they may also be waiting for busy senders.
 */
function roomIn(window: number, { isBacklogged, maxInFlight, liveCount, expectedCount }: DueQueue): number {
  if (!isBacklogged) return window;
  return Math.min(window - expectedCount, window + maxInFlight * FIRST_WINDOW_FACTOR - liveCount);
}

function nextWindow(queue: DueQueue): number {
  const { maxInFlight, publishWindow, isBacklogged } = queue;
  if (publishWindow === null) return maxInFlight * FIRST_WINDOW_FACTOR;
  return isBacklogged && areAllAttempted(queue) ? Math.min(MAX_WINDOW, publishWindow * 2) : publishWindow;
}

/** Whether all released deliveries have been attempted. */
function areAllAttempted({ maxInFlight, liveCount, expectedCount }: DueQueue): boolean {
  return expectedCount === 0 && liveCount <= maxInFlight * FIRST_WINDOW_FACTOR;
}

/** With a rate limit, some deliveries always wait for their send time: the window doubles when half of it is free. */
function nextRateLimitedWindow({ publishWindow, expectedCount }: DueQueue, most: number): number {
  if (publishWindow === null) return most;
  return Math.min(most, expectedCount * 2 <= publishWindow ? publishWindow * 2 : publishWindow);
}

type Released = {
  readonly release: Release;
  /** The deliveries that were due. */
  readonly released: number;
  /** From 0 to 1. */
  readonly random: number;
};

/** The change to save after a release. */
export function changeAfter(queue: DueQueue, { release, released, random }: Released): QueueChange {
  const { subscriptionId, sendTimes, recheckMs, publishWindow } = release;
  const { probe } = queue;
  const change = { subscriptionId, recheckMs, publishWindow, mustRecheck: probe !== null || isPaused(queue) };
  const nextSendInMs =
    sendTimes === undefined || released === 0 ? null : sendTimes.firstInMs + released * sendTimes.gapMs;
  if (probe === null || release.count === 0) return { ...change, nextSendInMs, nextProbe: null };
  if (released === 0) return { ...change, recheckMs: IDLE_PROBE_MS, nextSendInMs, nextProbe: null };
  const waitMs = Math.min(MAX_PROBE_WAIT_MS, probe.waitMs * 2);
  const inMs = Math.round(waitMs * (1 - PROBE_JITTER * random));
  return { ...change, recheckMs: inMs, nextSendInMs, nextProbe: { inMs, waitMs } };
}
