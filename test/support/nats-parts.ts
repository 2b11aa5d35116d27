import { DeliveryStream } from '../../src/delivery/queue/stream.ts';
import { guardRedeliveries, type RedeliveryGuard } from '../../src/delivery/sending/redelivery.ts';
import { AttemptFeed } from '../../src/delivery-log/attempt-feed.ts';
import { NatsClient } from '../../src/nats/connection.ts';
import { TEST_SEAL } from './test-app.ts';

type ClientOptions = ConstructorParameters<typeof NatsClient>[0];

export type NatsParts = {
  readonly natsClient: NatsClient;
  readonly deliveries: DeliveryStream;
  readonly feed: AttemptFeed;
  readonly redeliveryGuard: RedeliveryGuard;
};

/** A started NATS client, with the parts that the program builds on it. */
export function startNatsParts(options: Omit<ClientOptions, 'seal'>): NatsParts {
  const { log } = options;
  const natsClient = new NatsClient({ ...options, seal: TEST_SEAL });
  const parts = {
    natsClient,
    deliveries: new DeliveryStream({ nats: natsClient, log, now: Date.now }),
    feed: new AttemptFeed({ nats: natsClient, log }),
    redeliveryGuard: guardRedeliveries(natsClient, Date.now),
  };
  natsClient.start();
  return parts;
}
