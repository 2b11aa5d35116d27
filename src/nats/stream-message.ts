import type { JsMsg } from 'nats';

/** A message of a stream that waits for its ack. What is said of it while NATS is away is lost, and it comes again. */
export type StreamMessage = Pick<
  JsMsg,
  'subject' | 'headers' | 'data' | 'seq' | 'info' | 'redelivered' | 'ack' | 'nak' | 'working' | 'term'
>;
