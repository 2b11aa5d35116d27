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

/** As it is when messages 11 to 20 are left of 20, five of them delivered. */
const HEALTHY: Counts = { messages: 10, pending: 5, unacked: 5 };

function consumer({ pending, unacked, asking = 0 }: Counts): ConsumerInfo {
  // Only what the judgement reads.
  return {
    delivered: { consumer_seq: 15, stream_seq: 15 },
    ack_floor: { consumer_seq: 10, stream_seq: 10 },
    num_pending: pending,
    num_ack_pending: unacked,
    num_waiting: asking,
  } as ConsumerInfo;
}

function fingerprintsOf(before: Counts, after: Counts = before): string[] {
  const stream = {
    config: { retention: before.retention ?? RetentionPolicy.Workqueue },
    state: { messages: before.messages, first_seq: 11, last_seq: 20 },
  } as StreamInfo;
  return detectFaults({ before: consumer(before), stream, after: consumer(after) }).map(
    ({ fingerprint }) => fingerprint,
  );
}

describe('a work queue', () => {
  test('has no symptom if each message is to be delivered or to be acked', () => {
    expect(fingerprintsOf(HEALTHY)).toEqual([]);
  });

  test('has one if there are messages that its consumer knows nothing of', () => {
    expect(fingerprintsOf({ ...HEALTHY, pending: 4 })).toEqual(['left out']);
  });

  test('has one if its consumer waits for acks of messages that are gone', () => {
    expect(fingerprintsOf({ ...HEALTHY, unacked: 6 })).toEqual(['gone']);
  });

  test('has none if the counts only differ because messages came or went meanwhile', () => {
    expect(fingerprintsOf({ ...HEALTHY, pending: 4 }, { ...HEALTHY, pending: 6 })).toEqual([]);
    expect(fingerprintsOf({ ...HEALTHY, unacked: 6 }, { ...HEALTHY, unacked: 4 })).toEqual([]);
  });
});

test('a stream that keeps its messages may hold more than its consumer has to deliver', () => {
  expect(fingerprintsOf({ ...HEALTHY, pending: 1, retention: RetentionPolicy.Limits })).toEqual([]);
});

test('what is not acked while somebody asks for messages is marked by what a delivery or an ack would change', () => {
  expect(fingerprintsOf({ ...HEALTHY, asking: 1 })).toEqual(['15,10,5']);
  expect(fingerprintsOf({ ...HEALTHY, pending: 10, unacked: 0, asking: 1 })).toEqual([]);
});
