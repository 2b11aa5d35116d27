import { startChild } from './child.ts';
import { clockMs } from './clock.ts';
import { floorRequest } from './floor-request.ts';
import type { LatencySummary } from './latency.ts';
import type { Context, Outcome } from './measurement.ts';
import { keepAliveAgent, POSTS, type PostKind } from './post.ts';
import type { Stack } from './stack.ts';
import { measureFor, publishFor, startHealthyEndpoints, startTraffic } from './start-traffic.ts';
import { Traffic } from './traffic.ts';
import { waitUntil } from './wait-until.ts';
import type { WatcherMessage, WatchOrder } from './watcher.ts';

const TENANT = 'bench';
const SUBSCRIPTIONS = 50;
const PER_SECOND = 200;
const BARE_WARM_UP_MS = 1_000;
const BARE_MIN_MS = 3_000;
const WARM_UP_MS = 3_000;
const GRACE_MS = 5_000;

/** Measures the time from publish to arrival, and to a client that watches the log, at 200 events a second. */
export async function measureLatency(context: Context): Promise<Outcome> {
  const { traffic, from, to } = await publishWatched(context, { seconds: 60, sockets: 1, perSecond: PER_SECOND });
  const arrival = traffic.between(from, to);
  const watcher = traffic.seenBetween(from, to, 'sentAt');
  context.report('as many bare requests');
  const bare = { http: await measureBare(context, 'http'), got: await measureBare(context, 'got') };
  return {
    tables: [
      [
        rowOf('publish to arrival', arrival),
        rowOf('publish to the watcher', watcher),
        rowOf('a bare request with node:http', bare.http),
        rowOf('a bare request with got', bare.got),
      ],
    ],
    notes: [`missing: ${arrival.missing}, doubled: ${arrival.duplicates}`],
    figures: { arrival, watcher, bare },
    targets: [
      { name: 'latency: p95 to arrival, ms', value: arrival.p95, atMost: 25 },
      { name: 'latency: p95 to the watcher, ms', value: watcher.p95, atMost: 60 },
    ],
  };
}

/** Measures bare requests to endpoints of the same kind, from the call to the arrival: a lower bound for deliveries. */
async function measureBare(context: Context, kind: PostKind): Promise<LatencySummary> {
  const { urls, reportTo } = await startHealthyEndpoints(context, SUBSCRIPTIONS);
  const agent = keepAliveAgent(SUBSCRIPTIONS);
  const { headers, body } = floorRequest();
  const publish = (number: number) => {
    const request = { headers: { ...headers, 'webhook-id': String(number) }, body };
    return POSTS[kind](urls[number % urls.length] ?? '', request, agent);
  };
  const traffic = reportTo(new Traffic(publish, { perSecond: PER_SECOND }));
  await publishFor(traffic, BARE_WARM_UP_MS);
  return measureFor(traffic, Math.max(BARE_MIN_MS, context.size(20_000)));
}

/** Measures the time from a request's arrival, before its attempt is committed, to each of many watchers. */
export async function measureWatchers(context: Context): Promise<Outcome> {
  const sockets = context.size(1_000);
  const { traffic, from, to } = await publishWatched(context, { seconds: 30, sockets, perSecond: 5 });
  const watchers = traffic.seenBetween(from, to, 'arrivedAt');
  const { events } = traffic.between(from, to);
  return {
    tables: [[rowOf(`arrival to ${sockets} watchers`, watchers)]],
    notes: [`${watchers.events} of ${events * sockets} messages came`],
    figures: { sockets, events, watchers },
    targets: [
      { name: 'watchers: part of the messages that came', value: watchers.events / (events * sockets), atLeast: 1 },
    ],
  };
}

type Watched = { readonly seconds: number; readonly sockets: number; readonly perSecond: number };
type Span = { readonly traffic: Traffic; readonly from: number; readonly to: number };

async function publishWatched({ report, size, startStack }: Context, options: Watched): Promise<Span> {
  const { sockets, perSecond } = options;
  const seconds = Math.max(10, size(options.seconds));
  const stack = await startStack();
  const traffic = await startTraffic(stack, { tenant: TENANT, subscriptions: SUBSCRIPTIONS, perSecond });
  await startWatcher(stack, { traffic, sockets });
  report(`${sockets} watching; warming up with ${perSecond} events a second`);
  await publishFor(traffic, WARM_UP_MS);
  report(`${seconds} s of ${perSecond} events a second`);
  const from = clockMs();
  await publishFor(traffic, seconds * 1_000);
  const to = clockMs();
  const isSeen = () => traffic.seenBetween(from, to, 'sentAt').events >= traffic.between(from, to).events * sockets;
  await waitUntil(isSeen, GRACE_MS);
  return { traffic, from, to };
}

async function startWatcher(
  stack: Stack,
  { traffic, sockets }: { readonly traffic: Traffic; readonly sockets: number },
): Promise<void> {
  const { url, adminApiKey } = stack.program;
  const watcher = startChild<WatcherMessage>(stack, 'watcher.ts');
  watcher.send({ url, adminApiKey, tenant: TENANT, sockets } satisfies WatchOrder);
  watcher.onMessage((message) => {
    traffic.see(message);
  });
  await watcher.first;
}

function rowOf(name: string, { events, p50, p95, p99, max }: LatencySummary): Record<string, string> {
  const show = (ms: number) => ms.toFixed(1);
  return {
    '': name,
    count: String(events),
    'p50 ms': show(p50),
    'p95 ms': show(p95),
    'p99 ms': show(p99),
    'max ms': show(max),
  };
}
