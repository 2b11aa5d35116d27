import { setTimeout as delay } from 'node:timers/promises';
import { connect, headers as natsHeaders } from 'nats';

export type EventPublisher = {
  /** Publishes an event and retries, through any number of outages, until JetStream has confirmed it. */
  publish(subject: string, id: string, body?: string): Promise<void>;
  stop(): Promise<void>;
};

/** A well-behaved publisher: it publishes an unconfirmed event again under the same id. */
export async function startEventPublisher(natsUrl: string): Promise<EventPublisher> {
  const connection = await connect({ servers: natsUrl.split(','), maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  // Short, because a message sent while the server is unavailable is dropped without an error.
  const jetStream = connection.jetstream({ timeout: 1_000 });
  let isStopped = false;
  return {
    publish: async (subject, id, body = '{}') => {
      const headers = natsHeaders();
      headers.set('Nats-Msg-Id', id);
      for (let confirmed = false; !confirmed; ) {
        if (isStopped) throw new Error(`${id} was never confirmed`);
        confirmed = await jetStream.publish(subject, body, { headers }).then(
          () => true,
          () => delay(100, false),
        );
      }
    },
    stop: async () => {
      isStopped = true;
      await connection.close();
    },
  };
}
