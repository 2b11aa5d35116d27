import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import type { Receiver } from '../support/receiver.ts';
import { startTestApp } from '../support/test-app.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps(afterAll);
let stack: TestStack;
let receiver: Receiver;
beforeAll(async () => {
  stack = await startTestStack(cleanUps);
  receiver = await stack.receive();
});

const subscribe = (eventType: string) => stack.app.subscribe({ url: receiver.url, eventTypes: [eventType] });

/** Runs `pauseWebhookSubscription` or `resumeWebhookSubscription`; returns the end of the pause, or the error's code. */
async function change(field: 'pause' | 'resume', id: string, until?: Date): Promise<string | null> {
  const name = `${field}WebhookSubscription`;
  const args = until === undefined ? '' : `, until: "${until.toISOString()}"`;
  const answer = await stack.app.graphql<
    Record<string, { subscription?: { pausedUntil: string | null }; code?: string }>
  >(`mutation { ${name}(id: "${id}"${args}) {
    ... on ${name.charAt(0).toUpperCase()}${name.slice(1)}Payload { subscription { pausedUntil } } ... on Error { code } } }`);
  return answer[name]?.subscription?.pausedUntil ?? answer[name]?.code ?? null;
}

const inMs = (ms: number) => new Date(Date.now() + ms);
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

it('deliveries of a paused subscription wait through a restart, and are sent when it is resumed', async () => {
  const { id } = await subscribe('restart');
  await change('pause', id, inMs(MINUTE_MS));
  // More than the first window, of both kinds: published before the sweeper detected a backlog, and queued.
  await stack.publishMany('restart', 90);
  await stack.waitForDeliveries(90, `event_type = 'restart' AND waiting_for = 'PAUSED' AND enqueued_at IS NULL`);
  const { deliveries } = await stack.app.graphql<{ deliveries: unknown }>(
    `{ deliveries(first: 1, filter: { eventTypes: ["restart"] }) { nodes { waitingFor attemptCount } } }`,
  );
  expect(deliveries).toEqual({ nodes: [{ waitingFor: 'PAUSED', attemptCount: 0 }] });

  await stack.app.stop();
  const restarted = await startTestApp(stack);
  cleanUps.push(() => restarted.stop());
  Object.assign(stack, { app: restarted });
  await stack.publishMany('restart', 1);
  await stack.waitForDeliveries(91, `event_type = 'restart' AND waiting_for = 'PAUSED' AND enqueued_at IS NULL`);
  expect(receiver.requests).toHaveLength(0);

  expect(await change('resume', id)).toBeNull();
  await stack.waitForDeliveries(91, `event_type = 'restart' AND status = 'SUCCESS'`);
  expect(receiver.requests).toHaveLength(91);
  expect(await stack.countDeliveries(`event_type = 'restart' AND attempt_count <> 1`)).toBe(0);
});

it('a pause ends automatically', async () => {
  const { id } = await subscribe('ends');
  await change('pause', id, inMs(1_000));
  await stack.publishMany('ends', 3);
  await stack.waitForDeliveries(3, `event_type = 'ends' AND status = 'SUCCESS'`);
  const [state] = await stack.query<{ first: Date; isOver: boolean }>(
    `SELECT paused_until IS NULL AS "isOver" FROM subscription_states WHERE subscription_id = $1`,
    [id],
  );
  expect(state).toEqual({ isOver: true });
});

it('only a test event and a retry by a user are sent during a pause', async () => {
  const { id } = await subscribe('retry');
  await change('pause', id);
  await stack.publishMany('retry', 2);
  await stack.waitForDeliveries(2, `event_type = 'retry' AND waiting_for = 'PAUSED'`);
  const [delivery] = await stack.query<{ id: string }>(`SELECT id FROM deliveries WHERE event_type = 'retry' LIMIT 1`);
  await stack.app.graphql(`mutation { retryDelivery(id: "${delivery?.id ?? ''}") { __typename } }`);
  await stack.app.graphql(`mutation { sendTestEvent(subscriptionId: "${id}", eventType: "test") { __typename } }`);
  await stack.waitForDeliveries(2, `subscription_id = '${id}' AND status = 'SUCCESS'`);
  await stack.waitForDeliveries(1, `event_type = 'retry' AND waiting_for = 'PAUSED'`);
});

it('deactivating a paused subscription cancels its deliveries', async () => {
  const { id } = await subscribe('inactive');
  await change('pause', id);
  await stack.publishMany('inactive', 3);
  await stack.waitForDeliveries(3, `event_type = 'inactive' AND waiting_for = 'PAUSED'`);
  await stack.app.graphql(
    `mutation { updateWebhookSubscription(id: "${id}", input: { isActive: false }) { __typename } }`,
  );
  await stack.waitForDeliveries(3, `event_type = 'inactive' AND status = 'CANCELLED'`);
  // It is still paused, which gives the sweeper nothing to do.
  const isAtRest = async () => ((await stack.stateOf(id)).dueInMs ?? 0) > MINUTE_MS;
  await waitFor(isAtRest, { what: 'the sweeper to leave it alone' });
});

it('the end of a pause is checked, 30 days from now at the latest, and can be changed', async () => {
  const { id } = await subscribe('checked');
  for (const until of [inMs(-1), inMs(30 * DAY_MS + MINUTE_MS)]) {
    expect(await change('pause', id, until)).toBe('INVALID_INPUT');
  }
  expect(
    await change(
      'pause',
      id.replace(/.$/, (end) => (end === '0' ? '1' : '0')),
    ),
  ).toBe('NOT_FOUND');
  expect(await change('resume', 'none')).toBe('NOT_FOUND');
  const latest = Date.parse((await change('pause', id)) ?? '');
  expect(Math.abs(latest - Date.now() - 30 * DAY_MS)).toBeLessThan(MINUTE_MS);
  const earlier = inMs(MINUTE_MS);
  expect(await change('pause', id, earlier)).toBe(earlier.toISOString());
  const idsOf = async (paused: boolean) => {
    const filter = `{ paused: ${paused}, subscriptionIds: ["${id}", "${other.id}"] }`;
    const { webhookSubscriptions } = await stack.app.graphql<{
      webhookSubscriptions: { nodes: readonly { id: string }[] };
    }>(`{ webhookSubscriptions(filter: ${filter}) { nodes { id } } }`);
    return webhookSubscriptions.nodes.map((node) => node.id);
  };
  const other = await subscribe('other');
  expect([await idsOf(true), await idsOf(false)]).toEqual([[id], [other.id]]);
  // A resumed subscription is like one that was never paused.
  await change('resume', id);
  expect(await idsOf(false)).toEqual([other.id, id]);
});
