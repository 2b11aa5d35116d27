/** A range of time in milliseconds since 1970, which is also a range of ids. `toMs` is excluded. */
export type TimeRange = { readonly fromMs: number; readonly toMs: number };

export type Retention = { readonly nowMs: number; readonly retentionDays: number };

const DAY_MS = 86_400_000;
/** Approximate number of partitions per table. Each one costs planning and locks in statements that search all of them. */
const PARTITIONS = 15;
const MIN_AHEAD_MS = 3 * DAY_MS;
/** Maximum age of ids of new events. Events may stay in JetStream for three days, and their id has the time of arrival. */
const LATE_MS = 4 * DAY_MS;

/** The time before which rows are expired, in milliseconds since 1970. */
export function expiryOf({ nowMs, retentionDays }: Retention): number {
  return nowMs - retentionDays * DAY_MS;
}

/**
 * The missing partitions in ascending order: from the oldest events that may still arrive to three days ahead, or to the
 * width of a partition if that is more. Bounds are midnights in UTC. Ranges do not overlap existing partitions of any width.
 */
export function missingRanges(existing: readonly TimeRange[], retention: Retention): TimeRange[] {
  const { nowMs, retentionDays } = retention;
  const widthMs = Math.ceil(retentionDays / PARTITIONS) * DAY_MS;
  const ahead = nowMs + Math.max(MIN_AHEAD_MS, widthMs);
  const missing: TimeRange[] = [];
  // Starts at the expiry, because an older partition would be dropped immediately.
  let fromMs = floorToDay(Math.max(nowMs - LATE_MS, expiryOf(retention)));
  while (fromMs < ahead) {
    const covering = existing.find((range) => range.fromMs <= fromMs && fromMs < range.toMs);
    const next = Math.min(...existing.filter((range) => range.fromMs > fromMs).map((range) => range.fromMs));
    const toMs = covering?.toMs ?? Math.min(fromMs + widthMs, next);
    if (covering === undefined) missing.push({ fromMs, toMs });
    fromMs = toMs;
  }
  return missing;
}

/** The parts of the time before `beforeMs` that are in none of the ranges. */
export function gapsBefore(beforeMs: number, existing: readonly TimeRange[]): TimeRange[] {
  const gaps: TimeRange[] = [];
  let fromMs = 0;
  for (const range of existing.toSorted((a, b) => a.fromMs - b.fromMs)) {
    if (range.fromMs >= beforeMs) break;
    if (range.fromMs > fromMs) gaps.push({ fromMs, toMs: range.fromMs });
    fromMs = Math.max(fromMs, range.toMs);
  }
  if (fromMs < beforeMs) gaps.push({ fromMs, toMs: beforeMs });
  return gaps;
}

function floorToDay(timeMs: number): number {
  return timeMs - (timeMs % DAY_MS);
}
