import { setTimeout as delay } from 'node:timers/promises';
import { connect, headers as natsHeaders } from 'nats';

export type EventPublisher = {
  /** Publishes an event until JetStream has confirmed it, through as many outages as come. */
  publish(subject: string, id: string, body?: string): Promise<void>;
  stop(): Promise<void>;
};

/** A service as it should be: what was not confirmed is published again under the same id. */
export async function startEventPublisher(natsUrl: string): Promise<EventPublisher> {
  const connection = await connect({ servers: natsUrl, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  // Short: what is written while the server is away is dropped without a word.
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
