import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import type { DeliveryEnvelope } from '../../src/delivery/queue/message.ts';
import { Sender } from '../../src/delivery/sending/sender.ts';
import type { ConsumeOptions } from '../../src/nats/consume.ts';
import type { SenderSubscription } from '../../src/subscriptions/cache.ts';
import { waitFor } from '../support/wait-for.ts';

type SenderOptions = ConstructorParameters<typeof Sender>[0];

const MEBIBYTE = Buffer.alloc(1024 * 1024);
/** A delivery without inline data takes 16 of 1,000 permits. */
const IN_FLIGHT = 62;
/** Messages of 1 MiB that fill the intake. */
const INTAKE = 32;
const MESSAGES = 200;

it('a sender whose intake is full stops, and returns every message to JetStream', async () => {
  const returned: number[] = [];
  let handedOver = 0;
  let load: (subscription: SenderSubscription | undefined) => void = () => undefined;
  const loaded = new Promise<SenderSubscription | undefined>((resolve) => {
    load = resolve;
  });
  const messageOf = (seq: number) => ({ seq, data: MEBIBYTE, info: {}, nak: () => void returned.push(seq) });
  const nats = {
    // Like NatsClient: passes one message at a time, and after the stop those that nats-server had already sent.
    consume: async ({ onMessage }: ConsumeOptions) => {
      for (let seq = 1; seq <= MESSAGES; seq += 1) {
        handedOver = seq;
        // `as`: the part of a message that a sender uses before an attempt.
        await onMessage(messageOf(seq) as unknown as Parameters<typeof onMessage>[0]);
      }
    },
  };
  const deliveries = {
    read: ({ seq }: { readonly seq: number }): Partial<DeliveryEnvelope> => ({
      deliveryId: `delivery-${seq}`,
      tenant: 'acme',
      subscriptionId: 'subscription',
      data: undefined,
    }),
  };
  // `as`: no attempt is made, so the other parts are not used.
  const sender = new Sender({
    nats,
    deliveries,
    log: pino({ level: 'silent' }),
    metrics: new Registry(),
    database: {},
    subscriptions: { get: () => loaded },
  } as unknown as SenderOptions);
  sender.start();
  const taken = IN_FLIGHT + 1 + INTAKE;
  await waitFor(() => handedOver === taken, { what: 'the intake to be full' });
  const stopped = sender.stop();
  load(undefined);
  await stopped;
  expect(returned.toSorted((a, b) => a - b)).toEqual(Array.from({ length: MESSAGES }, (_, index) => index + 1));
});
