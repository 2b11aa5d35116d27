/** What is known of a subscription with an attempt that failed. */
export type Health = {
  readonly isOpen: boolean;
  /** How many of the latest attempts failed in a row, counted to 20. */
  readonly failuresInARow: number;
  /** Of the last five minutes, at most the latest 1,000. */
  readonly recent: { readonly attempts: number; readonly failures: number };
  /** For how long there has been no success. */
  readonly failingForMs: number;
  /** How many notices of that have been given since the circuit opened. */
  readonly noticeCount: number;
  /** How long ago the last one was. */
  readonly noticedForMs: number;
};

export type Verdict =
  | { readonly kind: 'nothing' }
  /** Open the circuit (send nothing but a probe now and then), or leave it open; tell the tenant in either case. */
  | { readonly kind: 'open' | 'notice'; readonly noticeCount: number; readonly progressPercent: number }
  | { readonly kind: 'deactivate' };

export const RECENT_MS = 300_000;
export const MAX_RECENT = 1_000;
export const MAX_IN_A_ROW = 20;
const MIN_ATTEMPTS = 10;
const FAILURE_RATE = 0.7;
export const FIRST_PROBE_MS = 30_000;
/** After so long without a success there is nobody to deliver to. */
export const DEACTIVATE_AFTER_MS = 5 * 86_400_000;
/** The first notice comes with the opening of the circuit, the others on the way to deactivation. */
const NOTICES_PERCENT = [0, 50, 70, 90] as const;
/** From the last notice to deactivation: what is left of the five days at 90 %, also when the notice came late. */
export const LAST_NOTICE_MS = 43_200_000;

/**
 * What to do about a subscription after one of its attempts failed. Only an open circuit leads to notices and to
 * deactivation: a few failures with days between them do not. Whoever is deactivated has been given the last notice,
 * and time to act on it: with little traffic nothing may have failed when the notices were due.
 */
export function judge(health: Health): Verdict {
  const { isOpen, failingForMs, noticeCount, noticedForMs } = health;
  if (!isOpen && !failsTooOften(health)) return { kind: 'nothing' };
  const due = NOTICES_PERCENT.filter((percent) => failingForMs * 100 >= percent * DEACTIVATE_AFTER_MS);
  if (!isOpen || due.length > noticeCount) {
    return { kind: isOpen ? 'notice' : 'open', noticeCount: due.length, progressPercent: due.at(-1) ?? 0 };
  }
  const isOver = failingForMs >= DEACTIVATE_AFTER_MS && noticedForMs >= LAST_NOTICE_MS;
  return { kind: isOver ? 'deactivate' : 'nothing' };
}

function failsTooOften({ failuresInARow, recent }: Health): boolean {
  if (failuresInARow >= MAX_IN_A_ROW) return true;
  return recent.attempts >= MIN_ATTEMPTS && recent.failures >= FAILURE_RATE * recent.attempts;
}
