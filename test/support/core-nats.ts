import type { Msg, NatsConnection } from 'nats';
import type { NatsClient, NatsListener } from '../../src/nats/connection.ts';
import { natsNames } from '../../src/nats/names.ts';

type CoreProcess = {
  /** The part of a client that a heartbeat or a roll call uses. */
  readonly nats: Pick<NatsClient, 'names' | 'broadcast' | 'unseal' | 'listen' | 'connected' | 'problems'>;
  /** Opens the connection. Call it once, after the parts of the process are created. */
  readonly open: () => void;
  /** Reports the end of an outage, or of the first check of the streams. */
  readonly connect: () => void;
  readonly disconnect: () => void;
};

type Subscribing = {
  readonly callback: (error: null, message: { readonly subject: string; readonly data: Buffer }) => void;
  readonly max?: number;
};

/** Core NATS in memory: each message goes to all connected processes and its publisher. Returns a function that adds one. */
export function createCoreNats(): () => CoreProcess {
  const receivers = new Set<(subject: string, data: Buffer) => void>();
  return () => {
    let isConnected = true;
    const listeners: NatsListener[] = [];
    const subscribe = (subscribed: string, { callback, max = Number.POSITIVE_INFINITY }: Subscribing) => {
      let count = 0;
      const receive = (subject: string, data: Buffer) => {
        if (!isConnected || subject !== subscribed || count >= max) return;
        count += 1;
        callback(null, { subject, data });
      };
      receivers.add(receive);
      return { unsubscribe: () => void receivers.delete(receive) };
    };
    const connection = { subscribe, isClosed: () => false, isDraining: () => false };
    return {
      nats: {
        names: natsNames(),
        get connected() {
          return isConnected;
        },
        get problems() {
          return isConnected ? [] : ['NATS is not connected'];
        },
        broadcast: (subject, body) => {
          if (isConnected) for (const receive of receivers) receive(subject, Buffer.from(body));
        },
        unseal: (_kind, { data }) => Buffer.from(data),
        listen: (listener) => void listeners.push(listener),
      },
      open: () => {
        // `as`: the client uses only this part of a connection and of a message.
        for (const { onOpen, subscription } of listeners) {
          onOpen?.(connection as unknown as NatsConnection);
          if (subscription === undefined) continue;
          const { subject, onMessage } = subscription;
          subscribe(subject, {
            callback: (_, message) => {
              onMessage(message as unknown as Msg);
            },
          });
        }
      },
      connect: () => {
        isConnected = true;
        for (const { onReady } of listeners) onReady?.();
      },
      disconnect: () => void (isConnected = false),
    };
  };
}
