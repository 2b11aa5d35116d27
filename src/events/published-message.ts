import type { JsMsg } from 'nats';
import type { HeaderReader } from './cloud-event.ts';

/** A message of the EVENTS stream, free of the client's types. */
export type PublishedMessage = {
  readonly subject: string;
  readonly header: HeaderReader;
  readonly body: Buffer;
  readonly sequence: number;
  /** When JetStream stored it, in nanoseconds since 1970. */
  readonly timestampNanos: number;
};

export function toPublishedMessage(message: JsMsg): PublishedMessage {
  return {
    subject: message.subject,
    header: (name: string) => readHeader(message, name),
    body: Buffer.from(message.data.buffer, message.data.byteOffset, message.data.byteLength),
    sequence: message.seq,
    timestampNanos: message.info.timestampNanos,
  };
}

/** Header names are compared without regard to case, as in HTTP; NATS itself keeps them as they were sent. */
function readHeader({ headers }: JsMsg, name: string): string | undefined {
  const key = headers?.keys().find((candidate) => candidate.toLowerCase() === name.toLowerCase());
  return key === undefined ? undefined : headers?.get(key);
}
