import { startChild } from './child.ts';
import { clockMs } from './clock.ts';
import { eventData } from './event-data.ts';
import type { ReceiverMessage } from './receiver.ts';
import type { Stack } from './stack.ts';
import { createSubscription } from './subscriptions.ts';
import { Traffic, type TrafficSummary } from './traffic.ts';

export type TrafficOptions = {
  readonly tenant: string;
  /** Each has its own endpoint. Each event is for one of them, round-robin. */
  readonly subscriptions: number;
  readonly perSecond: number;
};

const CONFIRM_MS = 30_000;

/** Creates subscriptions with healthy endpoints and returns the traffic that publishes their events. */
export async function startTraffic(
  stack: Stack,
  { tenant, subscriptions, perSecond }: TrafficOptions,
): Promise<Traffic> {
  const { urls, reportTo } = await startHealthyEndpoints(stack, subscriptions);
  const eventTypes = urls.map((_, index) => `healthy.${index}`);
  for (const [index, eventType] of eventTypes.entries()) {
    await createSubscription(stack, { tenant, url: urls[index] ?? '', eventTypes: [eventType] });
  }
  const jetStream = stack.nats.jetstream();
  const publish = (number: number) => {
    const subject = `events.${tenant}.${eventTypes[number % eventTypes.length] ?? ''}`;
    return jetStream.publish(subject, eventData(number), { msgID: String(number), timeout: CONFIRM_MS });
  };
  return reportTo(new Traffic(publish, { perSecond }));
}

export async function urlsOf(first: Promise<ReceiverMessage>): Promise<readonly string[]> {
  const message = await first;
  if (!('urls' in message)) throw new Error('the receiver did not report its URLs');
  return message.urls;
}

export async function publishFor(traffic: Traffic, ms: number, perSecond?: number): Promise<void> {
  const until = clockMs() + ms;
  await traffic.publishUntil(() => clockMs() >= until, perSecond);
}

/** Publishes events for `ms` and returns the summary of their arrivals. */
export async function measureFor(traffic: Traffic, ms: number, perSecond?: number): Promise<TrafficSummary> {
  const from = clockMs();
  await publishFor(traffic, ms, perSecond);
  return traffic.settled(from, clockMs());
}

export type HealthyEndpoints = {
  readonly urls: readonly string[];
  /** Reports arrivals to the traffic, and returns it. */
  readonly reportTo: (traffic: Traffic) => Traffic;
};

/** Starts a receiver with `count` endpoints that answer after 0 to 5 ms. */
export async function startHealthyEndpoints(stack: Pick<Stack, 'onStop'>, count: number): Promise<HealthyEndpoints> {
  const receiver = startChild<ReceiverMessage>(stack, 'receiver.ts', Array<string>(count).fill('healthy'));
  return {
    urls: await urlsOf(receiver.first),
    reportTo: (traffic) => {
      receiver.onMessage((message) => {
        traffic.receive(message);
      });
      return traffic;
    },
  };
}
