import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { expect, it } from 'vitest';
import { createOutput } from '../../src/cli/output.ts';
import { reseal } from '../../src/cli/reseal.ts';
import { scrape } from '../support/metrics.ts';
import { startReceiver } from '../support/receiver.ts';
import {
  ADMIN_API_KEY,
  postGraphql,
  SECRETS_KEY,
  startTestApp,
  startTestServices,
  type TestServices,
  testEnv,
} from '../support/test-app.ts';

const NEW_KEY = randomBytes(32).toString('base64');
const NEW_ADMIN_KEY = 'new-admin-key-new-admin-key-new-admin-key';

/** Runs `webhooks-engine reseal`; returns its exit code and its row. */
async function runReseal(services: TestServices, keys: string): Promise<[number, Record<string, number>]> {
  let printed = '';
  const out = createOutput(true, { out: { write: (text) => (printed += text) }, err: { write: () => undefined } });
  const { signal } = new AbortController();
  const exitCode = await reseal(
    { env: testEnv(services, { SECRETS_KEY: keys }), out, signal },
    { values: {}, positionals: [] },
  );
  return [exitCode, JSON.parse(printed) as Record<string, number>];
}

it('SECRETS_KEY and ADMIN_API_KEY rotate as docs/rotation.md says: nothing is lost, and the old keys open nothing', async () => {
  const services = await startTestServices();
  const receiver = await startReceiver(() => ({ status: 204 }));
  try {
    const step = (secretsKeys: string[], adminKeys: string[]) =>
      startTestApp(services, { env: { SECRETS_KEY: secretsKeys.join(), ADMIN_API_KEY: adminKeys.join() } });
    const headers = [{ name: 'x-api-key', value: 'of the customer' }];

    // Step 1: every process opens secrets with both keys, and seals with the old one.
    let app = await step([SECRETS_KEY, NEW_KEY], [ADMIN_API_KEY, NEW_ADMIN_KEY]);
    const { secret } = await app.subscribe({ url: receiver.url, headers });
    await services.publish('events.acme.order.paid', '1', { 'Event-Id': 'before' });
    await receiver.waitForRequests(1);
    expect(await runReseal(services, `${NEW_KEY},${Buffer.alloc(32).toString('base64')}`)).toEqual([
      1,
      { resealed: 0, unreadable: 2, remaining: 2 },
    ]);

    // Step 2, rolling: a process with the new key first and one with the old key first run side by side.
    const rolled = await step([NEW_KEY, SECRETS_KEY], [ADMIN_API_KEY, NEW_ADMIN_KEY]);
    await services.publish('events.acme.order.paid', '2', { 'Event-Id': 'rolling' });
    await receiver.waitForRequests(2);
    await app.stop();
    app = rolled;

    // Step 3, while events are published.
    const during = Array.from({ length: 20 }, (_, index) =>
      services.publish('events.acme.order.paid', '3', { 'Event-Id': `during-${index}` }),
    );
    expect(await runReseal(services, `${NEW_KEY},${SECRETS_KEY}`)).toEqual([
      0,
      { resealed: 2, unreadable: 0, remaining: 0 },
    ]);
    await Promise.all(during);
    await receiver.waitForRequests(22);
    const metrics = await scrape(app);
    expect(metrics.valueOf('webhooks_nats_forged_messages_total', { kind: 'deliveries' })).toBe(0);
    await app.stop();

    // Step 4: without the old keys.
    app = await step([NEW_KEY], [NEW_ADMIN_KEY]);
    await services.publish('events.acme.order.paid', '4', { 'Event-Id': 'after' });
    const requests = await receiver.waitForRequests(23);
    for (const { rawBody, headers: sent } of requests) {
      // `as`: the headers that the library reads have one value each.
      new Webhook(secret).verify(rawBody, sent as Record<string, string>);
      expect(sent['x-api-key']).toBe('of the customer');
    }
    expect(new Set(requests.map(({ headers: sent }) => sent['webhook-id'])).size).toBe(23);
    await expect(postGraphql(app.url, { query: '{ __typename }', variables: {} })).rejects.toThrow();
    await app.stop();
    await expect(step([SECRETS_KEY], [ADMIN_API_KEY])).rejects.toThrow('SECRETS_KEY cannot decrypt');
  } finally {
    await receiver.close();
    await services.stop();
  }
});
