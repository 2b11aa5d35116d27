import { readFileSync } from 'node:fs';
import {
  buildSchema,
  type GraphQLField,
  GraphQLObjectType,
  getNamedType,
  isLeafType,
  isObjectType,
  isRequiredArgument,
} from 'graphql';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiKey } from '../support/api-keys.ts';
import { type Answer, ask, openEvents, openSocket } from '../support/graphql-client.ts';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

/** Whatever somebody may ask for by name: another tenant's, or of the same form and nobody's. */
type Things = Readonly<
  Record<
    'tenant' | 'subscriptionId' | 'eventId' | 'eventRowId' | 'deliveryId' | 'attemptId' | 'rejectedEventId' | 'apiKeyId',
    string
  >
>;
type Case = (theirs: Things, own: Things) => readonly string[];

/**
 * For every root field, and every other field that takes arguments: how to ask for what is somebody else's. Without a
 * selection, which is made of every field there is. A page's cursors are tried by themselves.
 */
const CASES: Readonly<Record<string, Case>> = {
  'Query.webhookSubscription': (x) => [`webhookSubscription(id: "${x.subscriptionId}")`],
  'Query.webhookSubscriptions': (x) => [
    `webhookSubscriptions(filter: { tenant: "${x.tenant}" })`,
    `webhookSubscriptions(filter: { subscriptionIds: ["${x.subscriptionId}"] })`,
    ...pages('webhookSubscriptions', x.subscriptionId),
  ],
  'Query.delivery': (x) => [`delivery(id: "${x.deliveryId}")`],
  'Query.deliveries': (x) => [...filters('deliveries', x), ...pages('deliveries', x.deliveryId)],
  'Query.deliveryLog': (x) => [...filters('deliveryLog', x), ...pages('deliveryLog', x.attemptId)],
  'Query.event': (x) => [
    `event(id: "${x.eventId}")`,
    `event(id: "${x.eventRowId}")`,
    `event(id: "${x.eventId}", tenant: "${x.tenant}")`,
    `event(id: "shared", tenant: "${x.tenant}")`,
  ],
  'Query.events': (x) => [`events(filter: { tenant: "${x.tenant}" })`, ...pages('events', x.eventRowId)],
  'Query.rejectedEvents': (x) => [
    `rejectedEvents(filter: { tenant: "${x.tenant}" })`,
    ...pages('rejectedEvents', x.rejectedEventId),
  ],
  'Query.apiKeys': (x) => [`apiKeys(filter: { tenant: "${x.tenant}" })`, 'apiKeys'],
  'Mutation.createWebhookSubscription': (x) => [
    `createWebhookSubscription(input: { tenant: "${x.tenant}", url: "https://example.com", eventTypes: ["*"] })`,
  ],
  'Mutation.updateWebhookSubscription': (x) => [
    `updateWebhookSubscription(id: "${x.subscriptionId}", input: { isActive: false, url: "https://evil.example" })`,
  ],
  'Mutation.deleteWebhookSubscription': (x) => [`deleteWebhookSubscription(id: "${x.subscriptionId}")`],
  'Mutation.rotateWebhookSecret': (x) => [`rotateWebhookSecret(id: "${x.subscriptionId}")`],
  'Mutation.sendTestEvent': (x) => [`sendTestEvent(subscriptionId: "${x.subscriptionId}")`],
  'Mutation.createApiKey': (x) => [`createApiKey(input: { name: "x", scope: TENANT_READ, tenant: "${x.tenant}" })`],
  'Mutation.revokeApiKey': (x) => [`revokeApiKey(id: "${x.apiKeyId}")`],
  'Subscription.deliveryLog': (x) => [...filters('deliveryLog', x), `deliveryLog(after: "${cursorOf(x.attemptId)}")`],
  'WebhookSubscription.deliveries': (x, own) =>
    [...filters('deliveries', x), ...pages('deliveries', x.deliveryId)].map(
      (field) => `webhookSubscription(id: "${own.subscriptionId}") { ${field}`,
    ),
  'WebhookSubscription.deliveryLog': (x, own) =>
    [...filters('deliveryLog', x), ...pages('deliveryLog', x.attemptId)].map(
      (field) => `webhookSubscription(id: "${own.subscriptionId}") { ${field}`,
    ),
  'Delivery.attempts': (x, own) =>
    pages('attempts', x.attemptId).map((field) => `delivery(id: "${own.deliveryId}") { ${field}`),
  'Event.deliveries': (x, own) =>
    pages('deliveries', x.deliveryId).map((field) => `event(id: "${own.eventId}") { ${field}`),
};

/** A DeliveryFilter with each of its fields that can name something of a tenant's. */
function filters(field: string, { tenant, subscriptionId }: Things): string[] {
  return [
    `${field}(filter: { tenant: "${tenant}" })`,
    `${field}(filter: { subscriptionIds: ["${subscriptionId}"] })`,
    `${field}(filter: { eventTypes: ["only.${tenant}"] })`,
  ];
}

function pages(field: string, id: string): string[] {
  const cursor = cursorOf(id);
  return [`${field}(first: 5, after: "${cursor}")`, `${field}(last: 5, before: "${cursor}")`];
}

function cursorOf(id: string): string {
  return Buffer.from(`GPC:S:${id}`).toString('base64');
}
