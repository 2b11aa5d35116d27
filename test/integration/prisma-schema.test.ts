import { expect, it, onTestFinished } from 'vitest';
import { Prisma } from '../../src/generated/prisma/client.ts';
import { openTestDatabase } from '../support/database.ts';

it('the migrations create the tables of schema.prisma with the same columns', async () => {
  const opened = await openTestDatabase();
  onTestFinished(() => opened.close());
  const { pool, prisma } = opened.database;
  const columnCount = async (table: string) => {
    const { rowCount } = await pool.query(
      `SELECT FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1`,
      [table],
    );
    return rowCount;
  };
  const tables = {
    ApiKey: 'api_keys',
    Tenant: 'tenants',
    WebhookSubscription: 'webhook_subscriptions',
    MatchingSettings: 'matching_settings',
    SubscriptionState: 'subscription_states',
    SigningSecret: 'signing_secrets',
    EventType: 'event_types',
    Event: 'events',
    EventId: 'event_ids',
    RejectedEvent: 'rejected_events',
    Delivery: 'deliveries',
    Attempt: 'attempts',
    Replay: 'replays',
    AuditEntry: 'audit_log',
    Erasure: 'erasures',
  } as const;
  expect(Object.keys(tables).toSorted()).toEqual(Object.keys(Prisma.ModelName).toSorted());
  // Each query selects every column of the Prisma schema by name.
  await prisma.apiKey.findFirst();
  await prisma.tenant.findFirst();
  await prisma.webhookSubscription.findFirst();
  await prisma.matchingSettings.findFirst();
  await prisma.subscriptionState.findFirst();
  await prisma.signingSecret.findFirst();
  await prisma.eventType.findFirst();
  await prisma.event.findFirst();
  await prisma.eventId.findFirst();
  await prisma.rejectedEvent.findFirst();
  await prisma.delivery.findFirst();
  await prisma.attempt.findFirst();
  await prisma.replay.findFirst();
  await prisma.auditEntry.findFirst();
  await prisma.erasure.findFirst();
  const fields = {
    ApiKey: Prisma.ApiKeyScalarFieldEnum,
    Tenant: Prisma.TenantScalarFieldEnum,
    WebhookSubscription: Prisma.WebhookSubscriptionScalarFieldEnum,
    MatchingSettings: Prisma.MatchingSettingsScalarFieldEnum,
    SubscriptionState: Prisma.SubscriptionStateScalarFieldEnum,
    SigningSecret: Prisma.SigningSecretScalarFieldEnum,
    EventType: Prisma.EventTypeScalarFieldEnum,
    Event: Prisma.EventScalarFieldEnum,
    EventId: Prisma.EventIdScalarFieldEnum,
    RejectedEvent: Prisma.RejectedEventScalarFieldEnum,
    Delivery: Prisma.DeliveryScalarFieldEnum,
    Attempt: Prisma.AttemptScalarFieldEnum,
    Replay: Prisma.ReplayScalarFieldEnum,
    AuditEntry: Prisma.AuditEntryScalarFieldEnum,
    Erasure: Prisma.ErasureScalarFieldEnum,
  };
  for (const [model, table] of Object.entries(tables)) {
    const known = Object.keys(fields[model as keyof typeof fields]);
    expect(await columnCount(table), table).toBe(known.length);
  }
});
