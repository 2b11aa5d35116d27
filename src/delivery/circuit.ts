/** What is known of a subscription whose attempts fail. */
export type Health = {
  readonly isOpen: boolean;
  /** How many of the latest attempts failed in a row, counted to 20. */
  readonly failuresInARow: number;
  /** Of the last five minutes, at most the latest 1,000. */
  readonly recent: { readonly attempts: number; readonly failures: number };
  /** For how long every attempt has failed. */
  readonly failingForMs: number;
  /** How many notices of that have been given. */
  readonly noticeCount: number;
};

export type Verdict =
  | { readonly kind: 'nothing' }
  /** Stop sending, but for a probe now and then. */
  | { readonly kind: 'open' }
  /** Tell the tenant that so much of the way to deactivation is behind it. */
  | { readonly kind: 'notice'; readonly noticeCount: number; readonly progress: number }
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
export const NOTICES: readonly number[] = [0, 0.5, 0.7, 0.9];

/** What to do about a subscription after one of its attempts failed. */
export function judge(health: Health): Verdict {
  const progress = health.failingForMs / DEACTIVATE_AFTER_MS;
  if (progress >= 1) return { kind: 'deactivate' };
  if (!health.isOpen && failsTooOften(health)) return { kind: 'open' };
  const due = NOTICES.filter((share) => share > 0 && progress >= share).length;
  // The first one belongs to the opening; a circuit that never opened goes without.
  const noticeCount = due === 0 ? 0 : due + 1;
  if (noticeCount <= health.noticeCount) return { kind: 'nothing' };
  return { kind: 'notice', noticeCount, progress: NOTICES[noticeCount - 1] ?? 0 };
}

function failsTooOften({ failuresInARow, recent }: Health): boolean {
  if (failuresInARow >= MAX_IN_A_ROW) return true;
  return recent.attempts >= MIN_ATTEMPTS && recent.failures >= FAILURE_RATE * recent.attempts;
}
