import { createRequire } from 'node:module';
import type * as Graphql from 'graphql';
import type { GraphQLField, GraphQLInputType, GraphQLObjectType } from 'graphql';
import { describe, expect, test } from 'vitest';
import { permissionsOf, type Viewer } from '../../src/auth/viewer.ts';
import { schema } from '../../src/schema/schema.ts';

// The copy of the package that created the schema; an import here gives vitest's own copy. `as`: the types are equal.
const graphql = createRequire(import.meta.url)('graphql') as typeof Graphql;
const { getNamedType, isEnumType, isInputObjectType, isLeafType, isListType, isNonNullType, isObjectType } = graphql;

type Scope = Viewer['scope'];
const SCOPES: readonly Scope[] = ['ADMIN', 'TENANT_WRITE', 'TENANT_READ', 'PUBLISH'];

const READERS: readonly Scope[] = ['ADMIN', 'TENANT_WRITE', 'TENANT_READ'];
const WRITERS: readonly Scope[] = ['ADMIN', 'TENANT_WRITE'];
const PUBLISHERS: readonly Scope[] = ['ADMIN', 'TENANT_WRITE', 'PUBLISH'];
const ADMINS: readonly Scope[] = ['ADMIN'];

/** Every root field, and the scopes that may use it. */
const WHO: Readonly<Record<string, readonly Scope[]>> = {
  'Query.webhookSubscription': READERS,
  'Query.webhookSubscriptions': READERS,
  'Query.delivery': READERS,
  'Query.deliveries': READERS,
  'Query.attempt': READERS,
  'Query.deliveryLog': READERS,
  'Query.event': READERS,
  'Query.events': READERS,
  'Query.rejectedEvents': READERS,
  'Query.apiKeys': ADMINS,
  'Query.auditLog': READERS,
  'Query.deliveryJob': READERS,
  'Query.deliveryJobs': READERS,
  'Query.erasure': ADMINS,
  'Query.erasures': ADMINS,
  'Query.eventType': READERS,
  'Query.eventTypes': READERS,
  'Query.observedEventTypes': READERS,
  'Query.testFilter': READERS,
  'Query.replay': READERS,
  'Query.changesCursor': READERS,
  'Query.deliveryLogCursor': READERS,
  'Query.deliveryCounts': READERS,
  'Query.deliveryStats': READERS,
  'Query.replays': READERS,
  'Query.search': READERS,
  'Query.server': READERS,
  'Query.tenant': ADMINS,
  'Query.tenants': ADMINS,
  'Query.testFilterOnEvents': READERS,
  'Query.verifySignature': READERS,
  'Query.viewer': READERS,
  'Mutation.createWebhookSubscription': WRITERS,
  'Mutation.updateWebhookSubscription': WRITERS,
  'Mutation.deleteWebhookSubscription': WRITERS,
  'Mutation.rotateWebhookSecret': WRITERS,
  'Mutation.expireSigningSecret': WRITERS,
  'Mutation.probeNow': WRITERS,
  'Mutation.pauseWebhookSubscription': WRITERS,
  'Mutation.resumeWebhookSubscription': WRITERS,
  'Mutation.sendTestEvent': WRITERS,
  'Mutation.deliverEvents': WRITERS,
  'Mutation.createApiKey': ADMINS,
  'Mutation.revokeApiKey': ADMINS,
  'Mutation.putEventType': ADMINS,
  'Mutation.createPortalSession': WRITERS,
  'Mutation.createConsoleSession': READERS,
  'Mutation.exchangePortalCode': READERS,
  'Mutation.revokePortalSession': WRITERS,
  'Mutation.endSession': READERS,
  'Mutation.publishEvent': PUBLISHERS,
  'Mutation.publishEvents': PUBLISHERS,
  'Mutation.retryDelivery': WRITERS,
  'Mutation.cancelDelivery': WRITERS,
  'Mutation.startReplay': WRITERS,
  'Mutation.retryDeliveries': WRITERS,
  'Mutation.cancelDeliveries': WRITERS,
  'Mutation.cancelDeliveryJob': WRITERS,
  'Mutation.changeDeliveryJobRate': WRITERS,
  'Mutation.eraseTenant': ADMINS,
  'Mutation.redactEvent': WRITERS,
  'Mutation.cancelReplay': WRITERS,
  'Mutation.changeReplayRate': WRITERS,
  'Subscription.deliveryLog': READERS,
  'Subscription.deliveryChanges': READERS,
  'Subscription.subscriptionChanges': READERS,
  'Subscription.jobChanges': READERS,
  'Subscription.tenantChanges': ADMINS,
  'Subscription.eventLog': READERS,
  'Subscription.rejectedEventLog': READERS,
  'Subscription.replayProgress': READERS,
  'Subscription.deliveryJobProgress': READERS,
  'Subscription.serverHealth': ADMINS,
};

/** All fields that a viewer with the scope PUBLISH can read, from its root fields and from events. */
const READABLE_BY_PUBLISHERS = [
  ...['Event.createdAt', 'Event.id', 'Event.occurredAt', 'Event.tenant', 'Event.type'],
  ...['EventDataInvalidError.code', 'EventDataInvalidError.message', 'EventDataInvalidError.problems'],
  ...['InputProblem.code', 'InputProblem.message', 'InputProblem.path'],
  ...['InvalidInputError.code', 'InvalidInputError.message', 'InvalidInputError.problems'],
  'PublishEventPayload.event',
  'PublishEventPayload.isKnown',
  'PublishEventsPayload.results',
  'PublishedEventResult.code',
  'PublishedEventResult.id',
  'PublishedEventResult.message',
  'PublishedEventResult.path',
  'PublishedEventResult.problems',
  'PublishedEventResult.status',
];

const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()].filter(
  (type) => type != null,
);
const rootFields = roots.flatMap((type) =>
  Object.values(type.getFields()).map((field) => ({ type, field, name: `${type.name}.${field.name}` })),
);

/** Throws when a resolver runs, that is, when no permission check has rejected the operation. */
const services = new Proxy(
  {},
  {
    get: () => {
      throw new Error('a resolver was reached');
    },
  },
);

function contextOf(scope: Scope) {
  const viewer = { scope, tenant: scope === 'ADMIN' ? undefined : 'acme', credentialId: 'x', issuer: 'x' };
  return { viewer, services, stopping: new AbortController().signal };
}

/** A GraphQL literal of this type. */
function literal(type: GraphQLInputType): string {
  if (isNonNullType(type)) return literal(type.ofType);
  if (isListType(type)) return '[]';
  if (isEnumType(type)) return type.getValues()[0]?.name ?? '';
  if (type.name === 'DateTime') return '"2026-01-31T12:00:00Z"';
  if (!isInputObjectType(type)) return type.name === 'Int' ? '1' : '"x"';
  const required = Object.values(type.getFields()).filter((field) => isNonNullType(field.type));
  return `{ ${required.map((field) => `${field.name}: ${literal(field.type)}`).join(' ')} }`;
}

function operationOn(type: GraphQLObjectType, field: GraphQLField<unknown, unknown>): string {
  const args = field.args.filter((arg) => isNonNullType(arg.type)).map((arg) => `${arg.name}: ${literal(arg.type)}`);
  const selection = isLeafType(getNamedType(field.type)) ? '' : '{ __typename }';
  return `${type.name.toLowerCase()} { ${field.name}${args.length === 0 ? '' : `(${args.join(' ')})`} ${selection} }`;
}

async function codesOf(operation: string, scope: Scope): Promise<unknown[]> {
  const args = { schema, document: graphql.parse(operation), contextValue: contextOf(scope) };
  const result = operation.startsWith('subscription') ? await graphql.subscribe(args) : await graphql.execute(args);
  if (Symbol.asyncIterator in result) throw new Error('a stream without a server');
  return (result.errors ?? []).map(({ extensions }) => extensions['code']);
}

test('the table lists every root field', () => {
  expect(rootFields.map(({ name }) => name).toSorted()).toEqual(Object.keys(WHO).toSorted());
});

describe.each(rootFields)('$name', ({ type, field, name }) => {
  test.each(SCOPES)('with the scope %s', async (scope) => {
    const codes = await codesOf(operationOn(type, field), scope);
    if (WHO[name]?.includes(scope) === true) expect(codes).not.toContain('FORBIDDEN');
    else expect(codes).toEqual(['FORBIDDEN']);
  });
});

test('a viewer with the scope PUBLISH reads no other fields', async () => {
  const start = [
    'Event',
    ...rootFields.filter(({ name }) => WHO[name]?.includes('PUBLISH')).flatMap(({ field }) => namesOf(field)),
  ];
  const reached = new Set<string>();
  const seen = new Set<string>();
  for (const name of start) await walk(name);
  expect([...reached].toSorted()).toEqual(READABLE_BY_PUBLISHERS);

  async function walk(name: string): Promise<void> {
    const type = schema.getType(name);
    if (!isObjectType(type) || seen.has(name)) return;
    seen.add(name);
    for (const field of Object.values(type.getFields())) {
      if (await isForbidden(type, field)) continue;
      reached.add(`${name}.${field.name}`);
      for (const next of namesOf(field)) await walk(next);
    }
  }
});

function namesOf(field: GraphQLField<unknown, unknown>): string[] {
  const type = getNamedType(field.type);
  return graphql.isUnionType(type) ? type.getTypes().map(({ name }) => name) : [type.name];
}

async function isForbidden(
  parentType: GraphQLObjectType,
  { name: fieldName, resolve }: GraphQLField<unknown, unknown>,
): Promise<boolean> {
  try {
    // `as never`: permissions read only these properties of a resolver's arguments.
    await resolve?.({}, {}, contextOf('PUBLISH'), { parentType, fieldName, path: { key: fieldName } } as never);
    return false;
  } catch (error) {
    return error instanceof Error && error.message.includes('credentials with the scope PUBLISH may not use');
  }
}

test('a scope with write access may read and publish as well, and only an administrator may do everything', () => {
  const table = SCOPES.map((scope) => {
    // `as`: the table is about scopes alone.
    const { payloads, wholeTenant, exchangeCode, ...permissions } = permissionsOf({
      scope,
      tenant: 'acme',
      credentialId: 'x',
    } as Viewer);
    expect({ payloads, wholeTenant, exchangeCode }).toEqual({
      payloads: true,
      wholeTenant: true,
      exchangeCode: permissions.read,
    });
    return Object.entries(permissions)
      .filter(([, may]) => may)
      .map(([name]) => name)
      .toSorted();
  });
  expect(table).toEqual([['admin', 'publish', 'read', 'write'], ['publish', 'read', 'write'], ['read'], ['publish']]);
});

test('a portal session cannot publish or create credentials, and a code permits nothing', () => {
  const writer = { scope: 'TENANT_WRITE', tenant: 'acme', credentialId: 'x' } as const;
  expect(permissionsOf({ ...writer, session: 'PORTAL' })).toMatchObject({
    read: true,
    write: true,
    publish: false,
    admin: false,
    issueSessions: false,
    signIn: false,
  });
  expect(permissionsOf({ ...writer, session: 'PORTAL', subscriptionIds: [], hidesPayloads: true })).toMatchObject({
    wholeTenant: false,
    payloads: false,
  });
  const admin = { scope: 'ADMIN', credentialId: 'x', issuer: 'x' } as const;
  expect(permissionsOf({ ...admin, session: 'CONSOLE' })).toMatchObject({
    admin: true,
    issueSessions: true,
    signIn: false,
  });
  const code = permissionsOf({ ...admin, session: 'CODE', issuer: undefined });
  const permitted = Object.entries(code).flatMap(([name, isPermitted]) => (isPermitted ? [name] : []));
  expect(permitted.toSorted()).toEqual(['exchangeCode', 'payloads', 'wholeTenant']);
});
