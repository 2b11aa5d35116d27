import { Webhook } from 'standardwebhooks';
import { expect } from 'vitest';
import type { Receiver } from './receiver.ts';
import type { TestApp, TestServices } from './test-app.ts';
import { waitFor } from './wait-for.ts';

export type CoreFlow = {
  /** Programs on the same services. Each must apply the changes made through another one. */
  readonly apps: readonly [TestApp, ...TestApp[]];
  readonly publish: TestServices['publish'];
  /** Answers the first request with a 503. */
  readonly receiver: Receiver;
};

const MINUTE_MS = 60_000;

/** Checks rotation, delivery with a retry, the log by time, statistics, replay and changed settings, with their times. */
export async function expectCoreWorks({ apps, publish, receiver }: CoreFlow): Promise<void> {
  const [app, last = app] = [apps[0], apps.at(-1)];
  const begun = Date.now();
  const range = { from: new Date(begun - MINUTE_MS), to: new Date(begun + 2 * MINUTE_MS) };
  const { id, secret } = await app.subscribe({ url: `${receiver.url}/first` });
  const rotated = await rotate(last, id);
  expectSoon(rotated.previousSecretExpiresAt, begun + 3_600_000);

  await publish('events.acme.a', '{"n": 1}');
  const [, request] = await receiver.waitForRequests(2);
  for (const each of [secret, rotated.secret]) {
    new Webhook(each).verify(request?.rawBody.toString() ?? '', request?.headers as Record<string, string>);
  }
  await waitFor(async () => (await logOf(last, range)).length === 2, { what: 'both attempts in the log' });
  for (const { startedAt, delivery } of await logOf(last, range)) {
    for (const time of [startedAt, delivery.createdAt, delivery.event.createdAt]) expectSoon(time, begun);
  }
  expect(await logOf(last, { from: range.to, to: new Date(begun + 10 * MINUTE_MS) })).toEqual([]);
  const { deliveryStats } = await app.graphql<{ deliveryStats: { total: { attemptCount: number } } }>(
    `query ($from: DateTime!, $to: DateTime!) {
      deliveryStats(from: $from, to: $to, bucket: MINUTE) { total { attemptCount } } }`,
    range,
  );
  expect(deliveryStats.total.attemptCount).toBe(2);

  expect((await replay(app, { from: range.from, dryRun: true })).deliveryCount).toBe(1);
  expect((await replay(app, { from: range.from, dryRun: false })).deliveryCount).toBe(1);
  await receiver.waitForRequests(3);

  await app.graphql(
    `mutation ($id: ID!, $url: String!) {
      updateWebhookSubscription(id: $id, input: { url: $url }) { ... on Error { message } } }`,
    { id, url: `${receiver.url}/second` },
  );
  await publish('events.acme.a', '{"n": 2}');
  expect((await receiver.waitForRequests(4)).at(-1)?.path).toBe('/second');
}

/** Tolerates a minute for a busy machine: the offsets of time zones differ by more. */
function expectSoon(time: string, expectedMs: number): void {
  expect(Math.abs(Date.parse(time) - expectedMs)).toBeLessThan(MINUTE_MS);
}

async function rotate(app: TestApp, id: string) {
  const { rotateWebhookSecret } = await app.graphql<{
    rotateWebhookSecret: { secret: string; previousSecretExpiresAt: string };
  }>(
    `mutation ($id: ID!) { rotateWebhookSecret(id: $id, overlapSeconds: 3600) {
      ... on RotateWebhookSecretPayload { secret previousSecretExpiresAt } } }`,
    { id },
  );
  return rotateWebhookSecret;
}

type LoggedAttempt = {
  readonly startedAt: string;
  readonly delivery: { readonly createdAt: string; readonly event: { readonly createdAt: string } };
};

async function logOf(app: TestApp, range: { readonly from: Date; readonly to: Date }): Promise<LoggedAttempt[]> {
  const { deliveryLog } = await app.graphql<{ deliveryLog: { nodes: LoggedAttempt[] } }>(
    `query ($from: DateTime, $to: DateTime) { deliveryLog(filter: { tenant: "acme", from: $from, to: $to }, first: 10) {
      nodes { startedAt delivery { createdAt event { createdAt } } } } }`,
    range,
  );
  return deliveryLog.nodes;
}

async function replay(app: TestApp, input: { readonly from: Date; readonly dryRun: boolean }) {
  const { startReplay } = await app.graphql<{ startReplay: { replay: { deliveryCount: number } } }>(
    `mutation ($from: DateTime, $dryRun: Boolean!) {
      startReplay(input: { filter: { tenant: "acme", from: $from }, dryRun: $dryRun }) {
        ... on StartReplayPayload { replay { deliveryCount } } } }`,
    input,
  );
  return startReplay.replay;
}
