import type { FailureReason } from '../../generated/prisma/enums.ts';

/** What became of one HTTP request. A status line that came is the outcome, whatever happened to the body after it. */
export type Outcome = ResponseOutcome | FailureOutcome;

type ResponseOutcome = {
  readonly kind: 'response';
  /** 200 to 599. */
  readonly statusCode: number;
  /** Lower-case names; what came several times is joined by commas. */
  readonly headers: Readonly<Record<string, string>>;
  /** The first 20,000 bytes at most, as text. */
  readonly body: string;
  /** The rest of the body was too long, too slow or never came. */
  readonly bodyTruncated: boolean;
  /** Until the headers were there. */
  readonly responseTimeMs: number;
};

export type FailureOutcome = {
  readonly kind: 'failure';
  readonly reason: FailureReason;
  /** For the customer: no address, no header value, nothing of ours. */
  readonly message: string;
  readonly responseTimeMs: number;
};

/** Undefined for a 2xx: the one success there is. */
export function failureReasonOf(outcome: Outcome): FailureReason | undefined {
  if (outcome.kind === 'failure') return outcome.reason;
  if (outcome.statusCode >= 200 && outcome.statusCode < 300) return undefined;
  return outcome.statusCode >= 300 && outcome.statusCode < 400 ? 'REDIRECT' : 'HTTP_STATUS';
}
