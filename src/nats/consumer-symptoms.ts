import { type ConsumerInfo, RetentionPolicy, type StreamInfo } from 'nats';

/** A stream, and its consumer before and after it: while messages come and go, no two of their answers fit together. */
export type Look = { readonly before: ConsumerInfo; readonly stream: StreamInfo; readonly after: ConsumerInfo };

/** What may be nothing, unless it is still there, with the same `mark`, when `lastsMs` have passed. */
export type Symptom = { readonly problem: string; readonly mark: string; readonly lastsMs: number };

/** What has just been acked may take a moment to leave the stream. */
const PASSED_MS = 3_000;
const IMBALANCE_MS = 60_000;
/** Three times the sender's ack wait, and longer than any delay that a message is handed back with. */
const STALLED_MS = 180_000;

/** What a crash of nats-server before 2.14 leaves behind: docs/nats-server.md has each, with its source. */
export function symptomsOf(look: Look): Symptom[] {
  return [pastTheEnd(look), passed(look), imbalance(look), stalled(look)].filter((symptom) => symptom !== undefined);
}

/** The stream lost its end, and hands out sequence numbers again that its consumer will not look at. */
function pastTheEnd({ before, stream }: Look): Symptom | undefined {
  return before.delivered.stream_seq > stream.state.last_seq
    ? { problem: 'a consumer stands past the end of its stream', mark: '', lastsMs: 0 }
    : undefined;
}

/** The same, noticed after the stream has grown again. */
function passed({ before, stream: { config, state } }: Look): Symptom | undefined {
  return config.retention === RetentionPolicy.Workqueue &&
    state.messages > 0 &&
    state.first_seq <= before.ack_floor.stream_seq
    ? {
        problem: 'a consumer has passed messages that were never acked',
        mark: `${state.first_seq}`,
        lastsMs: PASSED_MS,
      }
    : undefined;
}

/** Each message of a work queue is either to be delivered or to be acked. */
function imbalance({ before, stream: { config, state }, after }: Look): Symptom | undefined {
  if (config.retention !== RetentionPolicy.Workqueue) return undefined;
  const unaccounted = [before, after].map((info) => state.messages - info.num_pending - info.num_ack_pending);
  if (Math.min(...unaccounted) > 0) {
    return { problem: 'a consumer leaves out messages of its stream', mark: 'left out', lastsMs: IMBALANCE_MS };
  }
  if (Math.max(...unaccounted) < 0) {
    return { problem: 'a consumer waits for acks of messages that are gone', mark: 'gone', lastsMs: IMBALANCE_MS };
  }
  return undefined;
}

/** Somebody asks for messages, and what is not acked is neither acked nor delivered again. */
function stalled({ before }: Look): Symptom | undefined {
  const { delivered, ack_floor: ackFloor, num_ack_pending: unacked, num_waiting: asking } = before;
  return unacked > 0 && asking > 0
    ? {
        problem: 'a consumer does not deliver again what was not acked',
        mark: [delivered.consumer_seq, ackFloor.consumer_seq, unacked].join(),
        lastsMs: STALLED_MS,
      }
    : undefined;
}
