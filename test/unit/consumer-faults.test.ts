import { type ConsumerInfo, RetentionPolicy, type StreamInfo } from 'nats';
import { describe, expect, test } from 'vitest';
import { detectFaults } from '../../src/nats/reconcile.ts';

type Counts = {
  readonly messages: number;
  readonly pending: number;
  readonly unacked: number;
  readonly asking?: number;
  readonly retention?: RetentionPolicy;
};

/** The counts after 20 messages, of which 10 are acked and 5 are delivered and not acked. */
const HEALTHY: Counts = { messages: 10, pending: 5, unacked: 5 };

function consumer({ pending, unacked, asking = 0 }: Counts): ConsumerInfo {
  // `as`: detectFaults() reads only these fields.
  return {
    delivered: { consumer_seq: 15, stream_seq: 15 },
    ack_floor: { consumer_seq: 10, stream_seq: 10 },
    num_pending: pending,
    num_ack_pending: unacked,
    num_waiting: asking,
  } as ConsumerInfo;
}

function faultsOf(before: Counts, after: Counts = before): ReturnType<typeof detectFaults> {
  const stream = {
    config: { retention: before.retention ?? RetentionPolicy.Workqueue },
    state: { messages: before.messages, first_seq: 11, last_seq: 20 },
  } as StreamInfo;
  return detectFaults({ before: consumer(before), stream, after: consumer(after) });
}

const fingerprintsOf = (...counts: Parameters<typeof faultsOf>) =>
  faultsOf(...counts).map(({ fingerprint }) => fingerprint);

describe('a work queue', () => {
  test('has no fault if every message is pending or unacked', () => {
    expect(fingerprintsOf(HEALTHY)).toEqual([]);
  });

  test('has a fault if its consumer does not count some of its messages', () => {
    expect(fingerprintsOf({ ...HEALTHY, pending: 4 })).toEqual(['left out']);
  });

  test('has a fault if its consumer waits for acks of messages that no longer exist', () => {
    expect(fingerprintsOf({ ...HEALTHY, unacked: 6 })).toEqual(['gone']);
  });

  test('has no fault if messages that arrived or were acked between the readings explain the difference', () => {
    expect(fingerprintsOf({ ...HEALTHY, pending: 4 }, { ...HEALTHY, pending: 6 })).toEqual([]);
    expect(fingerprintsOf({ ...HEALTHY, unacked: 6 }, { ...HEALTHY, unacked: 4 })).toEqual([]);
  });
});

test('a stream that keeps its messages may have more messages than its consumer counts', () => {
  expect(fingerprintsOf({ ...HEALTHY, pending: 1, retention: RetentionPolicy.Limits })).toEqual([]);
});

test('unacked messages during a pull request are marked by the numbers that a delivery or an ack would change', () => {
  expect(fingerprintsOf({ ...HEALTHY, asking: 1 })).toEqual(['15,10,5']);
  expect(fingerprintsOf({ ...HEALTHY, pending: 10, unacked: 0, asking: 1 })).toEqual([]);
});

test.each([
  ['a work queue', RetentionPolicy.Workqueue, 180],
  // An event that Postgres refuses waits up to an hour for its next try.
  ['a stream that keeps its messages', RetentionPolicy.Limits, 7_200],
])(
  'unacked messages of %s are a fault only after a time that is longer than any nak',
  (_stream, retention, seconds) => {
    expect(faultsOf({ ...HEALTHY, asking: 1, retention })).toMatchObject([{ mustPersistMs: seconds * 1_000 }]);
  },
);
