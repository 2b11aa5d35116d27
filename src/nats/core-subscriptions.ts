import type { Msg, NatsConnection, Subscription } from 'nats';

/** A subscription over NATS core. An error thrown by `onMessage` would stop the client from reading any message. */
export type CoreSubscription = { readonly subject: string; readonly onMessage: (message: Msg) => void };

/**
 * Makes subscriptions on each connection, and again those that nats-server has denied: the library closes them, and does
 * not make them again when it reconnects.
 */
export class CoreSubscriptions {
  #connection: NatsConnection | undefined;
  readonly #made = new Map<CoreSubscription, Subscription>();

  ensure(connection: NatsConnection, wanted: readonly CoreSubscription[]): void {
    if (connection !== this.#connection) this.#made.clear();
    this.#connection = connection;
    for (const subscription of wanted) {
      if (this.#made.get(subscription)?.isClosed() === false) continue;
      const { subject, onMessage } = subscription;
      const made = connection.subscribe(subject, {
        // The link reports denials, which are the only errors.
        callback: (error, message) => {
          if (error === null) onMessage(message);
        },
      });
      this.#made.set(subscription, made);
    }
  }
}
