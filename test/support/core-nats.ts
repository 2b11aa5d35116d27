import type { NatsConnection } from 'nats';
import type { NatsClient, NatsListener } from '../../src/nats/connection.ts';
import { natsNames } from '../../src/nats/names.ts';

type CoreProcess = {
  /** The part of a client that a heartbeat uses. */
  readonly nats: Pick<NatsClient, 'names' | 'broadcast' | 'open' | 'listen'>;
  /** Opens the connection; to be called once, when the parts of the process are created. */
  readonly open: () => void;
  /** The end of an outage, or of the first check of the streams. */
  readonly connect: () => void;
  readonly disconnect: () => void;
};

type Callback = (error: null, message: { readonly subject: string; readonly data: Buffer }) => void;

/** NATS core in memory: each message goes to all connected processes, the publisher included. Returns how one is added. */
export function createCoreNats(): () => CoreProcess {
  const receivers = new Set<(subject: string, data: Buffer) => void>();
  return () => {
    let isConnected = true;
    const listeners: NatsListener[] = [];
    const subscribe = (subscribed: string, { callback }: { readonly callback: Callback }) =>
      void receivers.add((subject, data) => {
        if (isConnected && subject === subscribed) callback(null, { subject, data });
      });
    return {
      nats: {
        names: natsNames(),
        broadcast: (subject, body) => {
          if (isConnected) for (const receive of receivers) receive(subject, Buffer.from(body));
        },
        open: (_kind, { data }) => Buffer.from(data),
        listen: (listener) => void listeners.push(listener),
      },
      open: () => {
        // `as`: the part of a connection that it uses.
        for (const { onOpen } of listeners) onOpen?.({ subscribe } as unknown as NatsConnection);
      },
      connect: () => {
        isConnected = true;
        for (const { onReady } of listeners) onReady?.();
      },
      disconnect: () => void (isConnected = false),
    };
  };
}
