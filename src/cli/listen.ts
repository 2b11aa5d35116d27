import { hostname, userInfo } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { webhookBody } from '../delivery/sending/attempt.ts';
import { signingHeaders } from '../delivery/sending/request-auth.ts';
import type { CliRelaySubscription } from '../generated/graphql/graphql.ts';
import { VERSION } from '../lib/version.ts';
import { limitSignal } from '../lib/waiting.ts';
import { type Api, connectApi, pagesOf, payloadOf } from './api.ts';
import { reasonOf } from './failure.ts';
import { follow, presentOfLog } from './follow.ts';
import { CREATE_SUBSCRIPTION, DELETE_SUBSCRIPTION, RELAY, SUBSCRIPTIONS, UPDATE_SUBSCRIPTION } from './operations.ts';
import { readUrl } from './options.ts';
import type { Context, Run } from './run.ts';

/** Seconds from the last renewal until the engine deactivates the temporary subscription. */
const LIFETIME_S = 3_600;
const RENEW_MS = 20 * 60_000;
const FORWARD_MS = 30_000;
/** Number of relayed deliveries that are remembered, so that a delivery with several attempts is relayed once. */
const MAX_RELAYED = 10_000;

/**
 * Relays the deliveries of a temporary webhook subscription. Its target is the engine's own /sink, which accepts every
 * request. This command reads each delivery from the live delivery log, signs it again with the subscription's secret, and
 * sends it to the local URL.
 */
export const listen: Run<'listen'> = async (context, { values }) => {
  const target = readUrl(values['forward-to'] ?? '', 'Name the local URL: --forward-to http://localhost:3000/hooks.');
  const api = await connectApi(values, context.env);
  const sink = new URL(values['sink-url'] ?? `${api.url}/sink`);
  const name = `webhooks-engine listen: ${values.name ?? `${userInfo().username}@${hostname()} to ${target.href}`}`;
  await deleteEarlier(api, { name, tenant: values.tenant });
  const input = {
    tenant: values.tenant,
    url: sinkUrl(sink),
    eventTypes: values.type ?? ['*'],
    description: name,
    maxInFlight: 100,
    // The subscription is activated once the live log is open, so that no delivery is missed.
    isActive: false,
  };
  const created = payloadOf((await api.request(CREATE_SUBSCRIPTION, { input })).createWebhookSubscription);
  const { subscription, secret } = created;
  const { id } = subscription;
  const activate = async () => {
    payloadOf((await api.request(UPDATE_SUBSCRIPTION, { id, input: { isActive: true } })).updateWebhookSubscription);
    context.out.note(`Relaying events of tenant ${subscription.tenant} to ${target.href}. Signing secret: ${secret}`);
  };
  const over = new AbortController();
  const renewing = renew({ api, sink, id }, { ...context, signal: AbortSignal.any([context.signal, over.signal]) });
  try {
    await relay(context, { api, subscriptionId: id, target, secret, activate });
    return 0;
  } finally {
    over.abort();
    await renewing;
    await api.request(DELETE_SUBSCRIPTION, { id }).catch((error: unknown) => {
      context.out.note(`The temporary subscription could not be deleted, and ends within an hour: ${reasonOf(error)}`);
    });
  }
};

/** The sink answers 410 after this time, with which the engine deactivates the subscription. */
function sinkUrl(sink: URL): string {
  const url = new URL(sink);
  url.searchParams.set('until', String(Math.floor(Date.now() / 1_000) + LIFETIME_S));
  return url.href;
}

/** Deletes subscriptions with this name, which a killed listener leaves behind. */
async function deleteEarlier(
  api: Api,
  { name, tenant }: { readonly name: string; readonly tenant: string | undefined },
): Promise<void> {
  const pages = pagesOf(async (after) => (await api.request(SUBSCRIPTIONS, { tenant, after })).webhookSubscriptions);
  for await (const page of pages) {
    for (const { id, description } of page) {
      if (description === name) await api.request(DELETE_SUBSCRIPTION, { id });
    }
  }
}

type Lease = { readonly api: Api; readonly sink: URL; readonly id: string };

async function renew({ api, sink, id }: Lease, { out, signal }: Context): Promise<void> {
  try {
    for (;;) {
      await delay(RENEW_MS, undefined, { signal });
      // The lifetime is three intervals, so a failed renewal can be repeated before the subscription ends.
      await api.request(UPDATE_SUBSCRIPTION, { id, input: { url: sinkUrl(sink) } }).catch((error: unknown) => {
        out.note(`The temporary subscription could not be renewed: ${reasonOf(error)}`);
      });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

type Relay = {
  readonly api: Api;
  readonly subscriptionId: string;
  readonly target: URL;
  readonly secret: string;
  /** Called when the live log is open for the first time. */
  readonly activate: () => Promise<void>;
};
type Attempt = CliRelaySubscription['deliveryLog'];

async function relay(context: Context, options: Relay): Promise<void> {
  const { api, subscriptionId, activate } = options;
  const relayed = new Set<string>();
  let isActive = false;
  const activateOnce = async () => {
    await activate();
    isActive = true;
  };
  const filter = { subscriptionIds: [subscriptionId] };
  await follow(context, {
    begin: () => presentOfLog(api, context.signal),
    open: (after) => {
      const onOpen = isActive ? undefined : activateOnce;
      return api.watch(RELAY, { variables: { filter, after }, signal: context.signal, onOpen });
    },
    onValue: async ({ deliveryLog: attempt }) => {
      const id = attempt.delivery?.id ?? '';
      if (!relayed.has(id)) await forward(context, { attempt, ...options });
      relayed.add(id);
      const [oldest] = relayed;
      if (relayed.size > MAX_RELAYED && oldest !== undefined) relayed.delete(oldest);
      return attempt.cursor;
    },
  });
}

async function forward(
  { out, signal }: Context,
  { attempt, target, secret }: Pick<Relay, 'target' | 'secret'> & { readonly attempt: Attempt },
): Promise<void> {
  const event = attempt.delivery?.event;
  if (event == null) return;
  const began = performance.now();
  const { status, problem } = await post(target, { ...relayedRequest(attempt, secret), signal });
  const ms = Math.round(performance.now() - began);
  const row = {
    eventId: event.id,
    type: event.type,
    statusCode: status ?? null,
    error: problem ?? null,
    responseTimeMs: ms,
  };
  out.line(row, `${event.type}  ${event.id}  ${status === undefined ? (problem ?? '') : `HTTP ${status}`}  ${ms} ms`);
}

type RelayedRequest = { readonly headers: Readonly<Record<string, string>>; readonly body: Buffer };

/** The request that a receiver would get: the same body and headers, with a new signature and the current time. */
export function relayedRequest({ delivery, number }: Attempt, secret: string, nowMs = Date.now()): RelayedRequest {
  if (delivery?.event == null) throw new Error('the delivery has no event');
  const { id, type, occurredAt, data } = delivery.event;
  const body = webhookBody({ eventId: id, eventType: type, occurredAt, data: Buffer.from(JSON.stringify(data)) });
  const timestampSeconds = Math.floor(nowMs / 1_000);
  const headers = {
    ...signingHeaders({ secrets: [secret], eventId: id, timestampSeconds, body }),
    'content-type': 'application/json',
    'user-agent': `webhooks-engine/${VERSION}`,
    'webhook-event': type,
    'webhook-delivery': delivery.id,
    'webhook-attempt': String(number),
  };
  return { headers, body };
}

/** The status of the local response, or why there is none. */
type RelayResult = { readonly status?: number; readonly problem?: string };

async function post(
  target: URL,
  { headers, body, signal }: RelayedRequest & { readonly signal: AbortSignal },
): Promise<RelayResult> {
  const init = { method: 'POST', headers, body: new Uint8Array(body), redirect: 'manual' } as const;
  const limit = limitSignal(signal, FORWARD_MS);
  try {
    const response = await fetch(target, { ...init, signal: limit.signal });
    await response.body?.cancel();
    return { status: response.status };
  } catch (error) {
    return { problem: reasonOf(error) };
  } finally {
    limit.clear();
  }
}
