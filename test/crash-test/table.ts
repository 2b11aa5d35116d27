import type { CrashTestResult } from './crash-test.ts';
import { KINDS } from './schedule.ts';

/** The rows of the result table of a run. */
export function rowsOf(result: CrashTestResult): Record<string, string>[] {
  const { judgement, incidents, requests, attempts } = result;
  const { expected, lost, late } = judgement;
  const by = Object.entries(judgement.duplicatesBy).map(([cause, count]) => `${cause}: ${count}`);
  const rows: (readonly [what: string, count: number, remark: string])[] = [
    ['events published', result.published, `in ${seconds(result.publishedInMs)}`],
    ['events acknowledged', result.acknowledged, ''],
    ['publishEvent unanswered for a minute', result.unanswered, ''],
    ['deliveries expected', expected, ''],
    ['deliveries arrived', expected - lost - late, `the last one ${seconds(result.lastAfterMs)} after publishing`],
    ['lost', lost, 'must be 0'],
    ['late', late, 'must be 0; pending at the time limit'],
    ['duplicate requests', judgement.duplicates, by.toSorted().join(', ')],
    ['most in flight at a kill or pause', judgement.mostInFlight, ''],
    ['requests the receivers saw', requests, ''],
    ['attempts in the delivery log', attempts, ''],
    ['requests not in the log: killed', judgement.cutByKill, 'each request was repeated'],
    ['requests not in the log: cut by the receiver', judgement.cutByReceiver, 'repeated within the attempt'],
    [
      'attempts that no receiver saw',
      judgement.unseen,
      'the endpoint refused connections, or no connection was made in time',
    ],
    ['successes received too late', judgement.receivedTooLate, 'they count as failures, and are retried'],
    ['pending with a reason', judgement.pendingWithReason, ''],
    ['left in JetStream', result.unacked, ''],
    ...KINDS.map((kind) => [kind, incidents.filter((one) => one.kind === kind).length, ''] as const),
    ...problemCounts(result),
    ['problems', judgement.problems.length, 'must be 0'],
  ];
  return rows.map(([what, count, remark]) => ({ what, count: String(count), remark }));
}

/** Whether all events were acknowledged, and there are no problems. */
export function hasPassed({ judgement, published, acknowledged }: CrashTestResult): boolean {
  return judgement.problems.length === 0 && published === acknowledged;
}

function problemCounts({ judgement: { problems } }: CrashTestResult): [string, number, string][] {
  const kinds = [...new Set(problems.map(({ what }) => what))];
  return kinds.map((kind) => [`! ${kind}`, problems.filter(({ what }) => what === kind).length, 'must be 0']);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(0)} s`;
}
