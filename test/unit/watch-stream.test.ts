import { expect, test } from 'vitest';
import { NO_TRACE } from '../../src/delivery/http/request.ts';
import type { CommittedAttempt } from '../../src/delivery-log/attempt-feed.ts';
import type { LogWatcher } from '../../src/delivery-log/live-log.ts';
import { AttemptStream } from '../../src/delivery-log/watch-delivery-log.ts';
import { uuid7, uuid7Floor } from '../../src/lib/uuid7.ts';

const NOW = 1_800_000_000_000;
const LATE = { ...attempt(NOW - 60_000), isLate: true };

function attempt(timeMs: number): CommittedAttempt {
  return {
    id: uuid7(timeMs),
    deliveryId: uuid7(timeMs),
    subscriptionId: uuid7(timeMs),
    tenant: 'acme',
    eventType: 'a.b',
    number: 1,
    status: 'SUCCESS',
    failureReason: null,
    statusCode: 200,
    responseTimeMs: 1,
    startedAt: new Date(timeMs),
    requestHeaders: {},
    responseHeaders: {},
    responseBody: '',
    url: 'https://example.com/',
    ...NO_TRACE,
    responseBodyTruncated: false,
    errorMessage: null,
    payloadSizeBytes: 1,
    signingSecretIds: [],
    isTest: false,
  };
}

function open() {
  let watcher: LogWatcher | undefined;
  const watch = (its: LogWatcher) => {
    watcher = its;
    return () => undefined;
  };
  const stream = new AttemptStream({ watch }, () => true, new AbortController().signal);
  return {
    stream,
    hear: (heard: CommittedAttempt) => watcher?.onAttempt(heard),
    gap: () => watcher?.onGap(),
    takeIds: async () => {
      const taken = await stream.take();
      if (taken === undefined || taken === 'gap') return taken;
      return taken.map((item) => (item.kind === 'attempt' ? item.attempt.id : item.id));
    },
  };
}

test('a gap is read before the buffered attempts, of which only late commits are kept', async () => {
  const { stream, hear, gap, takeIds } = open();
  const next = attempt(NOW + 2);
  hear(attempt(NOW));
  hear(LATE);
  gap();
  hear(attempt(NOW + 1));
  expect(await takeIds()).toBe('gap');
  stream.discardReadable(uuid7Floor(NOW - 15_000));
  hear(next);
  expect(await takeIds()).toEqual([LATE.id, next.id]);
});

test('attempts read from Postgres are removed from the buffer, even if they were committed late', async () => {
  const { stream, hear, takeIds } = open();
  hear(LATE);
  hear(attempt(NOW));
  stream.discardReadable(uuid7Floor(NOW - 61_000));
  const next = attempt(NOW + 1);
  hear(next);
  expect(await takeIds()).toEqual([next.id]);
});

test('a reader that does not read gets a gap instead of more than 1,000 attempts', async () => {
  const { stream, hear, takeIds } = open();
  hear(LATE);
  for (let index = 0; index < 2_500; index += 1) hear(attempt(NOW + index));
  expect(await takeIds()).toBe('gap');
  stream.discardReadable(uuid7Floor(NOW - 15_000));
  expect(await takeIds()).toEqual([LATE.id]);
});
