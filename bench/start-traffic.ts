import { startChild } from './child.ts';
import { clockMs } from './clock.ts';
import type { ReceiverMessage } from './receiver.ts';
import type { Stack } from './stack.ts';
import { createSubscription } from './subscriptions.ts';
import { Traffic } from './traffic.ts';

export type TrafficOptions = {
  readonly tenant: string;
  /** Each with an endpoint of its own; each event is for one of them, in turn. */
  readonly subscriptions: number;
  readonly perSecond: number;
};

/** Subscriptions whose endpoints answer soon, and what publishes to them. */
export async function startTraffic(
  stack: Stack,
  { tenant, subscriptions, perSecond }: TrafficOptions,
): Promise<Traffic> {
  const receiver = startChild<ReceiverMessage>(stack, 'receiver.ts', Array<string>(subscriptions).fill('healthy'));
  const urls = await urlsOf(receiver.first);
  const eventTypes = urls.map((_, index) => `healthy.${index}`);
  for (const [index, eventType] of eventTypes.entries()) {
    await createSubscription(stack, { tenant, url: urls[index] ?? '', eventTypes: [eventType] });
  }
  const subjects = eventTypes.map((eventType) => `events.${tenant}.${eventType}`);
  const traffic = new Traffic(stack.nats.jetstream(), { subjects, perSecond });
  receiver.onMessage((message) => {
    traffic.receive(message);
  });
  return traffic;
}

export async function urlsOf(first: Promise<ReceiverMessage>): Promise<readonly string[]> {
  const message = await first;
  if (!('urls' in message)) throw new Error('the receiver did not say where it listens');
  return message.urls;
}

export async function publishFor(traffic: Traffic, ms: number): Promise<void> {
  const until = clockMs() + ms;
  await traffic.publishUntil(() => clockMs() >= until);
}
