import { isLate } from '../../src/delivery/sending/result-writer.ts';
import type { Attempt, Delivery } from '../../src/generated/prisma/client.ts';
import { createIdSequence } from '../../src/lib/uuid7.ts';
import { type Api, attemptOf, storeAttempts } from './graphql-api.ts';

export type AttemptRecorder = {
  /** Creates an attempt with an id, to commit it later. */
  readonly prepare: (values?: Partial<Attempt>, timeMs?: number) => Attempt;
  /** Commits attempts, in the order of their ids, and announces them. */
  readonly record: (...attempts: Attempt[]) => Promise<void>;
  /** Commits an attempt without announcing it. */
  readonly recordUnannounced: (attempt: Attempt) => Promise<void>;
};

/** Records and announces attempts like a sender process. */
export function createAttemptRecorder({ database, feed }: Api, delivery: Delivery): AttemptRecorder {
  const nextId = createIdSequence();
  let previousId: string | undefined;
  const commit = async (attempts: readonly Attempt[], announce: boolean) => {
    await storeAttempts(database, attempts);
    for (const attempt of attempts) {
      if (announce) feed.announce({ ...attempt, previousId, isLate: isLate(attempt.id, Date.now()) });
      previousId = attempt.id;
    }
  };
  return {
    prepare: (values, timeMs = Date.now()) => attemptOf(delivery, { id: nextId(timeMs), ...values }),
    record: (...attempts) => commit(attempts, true),
    recordUnannounced: (attempt) => commit([attempt], false),
  };
}
