/** A range of time in milliseconds since 1970, and so of ids: from `fromMs` on, before `toMs`. */
export type TimeRange = { readonly fromMs: number; readonly toMs: number };

export type Retention = { readonly nowMs: number; readonly retentionDays: number };

const DAY_MS = 86_400_000;
/** Each partition costs planning and locks in whatever looks through all of them, so there are about so many. */
const PARTITIONS = 15;
const MIN_AHEAD_MS = 3 * DAY_MS;
/** Events wait in JetStream for up to three days, under the id of the time they came. */
const LATE_MS = 4 * DAY_MS;

/** What is older is not kept. */
export function expiryOf({ nowMs, retentionDays }: Retention): number {
  return nowMs - retentionDays * DAY_MS;
}

/**
 * The partitions that are missing, in order: from what may still come in late to at least three days ahead, or as long
 * as a partition if that is more. Their bounds are midnights (UTC); none overlaps an existing one, whatever its width.
 */
export function missingRanges(existing: readonly TimeRange[], retention: Retention): TimeRange[] {
  const { nowMs, retentionDays } = retention;
  const widthMs = Math.ceil(retentionDays / PARTITIONS) * DAY_MS;
  const ahead = nowMs + Math.max(MIN_AHEAD_MS, widthMs);
  const missing: TimeRange[] = [];
  // Not before what is dropped anyway.
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

/** What of the time before `beforeMs` lies in none of the ranges. */
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
