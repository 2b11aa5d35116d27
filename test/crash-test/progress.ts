import type { Disturber } from './disturber.ts';
import type { Endpoints } from './endpoints.ts';
import type { Publisher } from './publisher.ts';
import { KINDS } from './schedule.ts';
import type { Stack } from './stack.ts';
import type { Tally } from './tally.ts';

export type Running = {
  readonly stack: Stack;
  readonly endpoints: Endpoints;
  readonly publisher: Publisher;
  readonly disturber: Disturber;
  readonly tally: Tally;
};

/** One line with the counts of events, deliveries and disturbances. */
export function describeProgress({ publisher, endpoints, disturber, tally }: Running): string {
  const disturbed = KINDS.map((kind) => `${kind} ${disturber.count(kind)}`).join(', ');
  return [
    `published ${publisher.published}, acknowledged ${publisher.acknowledged.length}`,
    `delivered ${tally.expected - tally.missing} of ${tally.expected}, in flight ${endpoints.open}`,
    disturbed,
  ].join('; ');
}

/**
 * Whether the run is complete: no delivery is missing or pending, and JetStream has no unacked messages. After
 * `unackedMs`, unacked messages are ignored, because JetStream will not redeliver them: after a kill, nats-server can
 * list acked messages as unacked forever.
 */
export function createIsSettled({ stack, endpoints, tally }: Running, unackedMs: number): () => Promise<boolean> {
  let since: number | undefined;
  const isComplete = async () => {
    if (tally.missing > 0 || endpoints.open > 0) return false;
    const pending = await stack.postgres.query(`SELECT FROM deliveries WHERE status = 'PENDING' LIMIT 1`);
    return pending.length === 0;
  };
  return async () => {
    try {
      since = (await isComplete()) ? (since ?? Date.now()) : undefined;
      return since !== undefined && ((await stack.unacked()) === 0 || Date.now() - since > unackedMs);
    } catch {
      // An unavailable server has not settled.
      return false;
    }
  };
}
