import { readFile } from 'node:fs/promises';
import {
  buildSchema,
  GraphQLInputObjectType,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  specifiedScalarTypes,
} from 'graphql';
import { beforeAll, describe, expect, test } from 'vitest';

let schema: GraphQLSchema;
beforeAll(async () => {
  schema = buildSchema(await readFile(new URL('../../schema.graphql', import.meta.url), 'utf8'));
});

/** The fields of an object or input type, each with its arguments and its type. */
function fieldsOf(name: string): string[] {
  const type = schema.getType(name);
  if (type === undefined || !('getFields' in type)) throw new Error(`there is no type ${name} with fields`);
  return Object.values((type as GraphQLObjectType).getFields()).map((field) => {
    const args = 'args' in field ? field.args.map((arg) => `${arg.name}: ${String(arg.type)}`).join(', ') : '';
    return `${field.name}${args === '' ? '' : `(${args})`}: ${String(field.type)}`;
  });
}

const PAGE = 'after: String, before: String';
const SIZE = 'first: Int, last: Int';

/** The names that API clients depend on. */
const CONTRACT: Readonly<Record<string, readonly string[]>> = {
  Mutation: [
    'createWebhookSubscription(input: CreateWebhookSubscriptionInput!): CreateWebhookSubscriptionResult!',
    'updateWebhookSubscription(id: ID!, ifUnchangedSince: DateTime, input: UpdateWebhookSubscriptionInput!): UpdateWebhookSubscriptionResult!',
    'probeNow(id: ID!): ProbeNowResult!',
    'pauseWebhookSubscription(id: ID!, until: DateTime): PauseWebhookSubscriptionResult!',
    'resumeWebhookSubscription(id: ID!): ResumeWebhookSubscriptionResult!',
    'expireSigningSecret(id: ID!, secretId: ID!): ExpireSigningSecretResult!',
    'deleteWebhookSubscription(id: ID!): DeleteWebhookSubscriptionResult!',
    'rotateWebhookSecret(id: ID!, overlapSeconds: Int): RotateWebhookSecretResult!',
    'sendTestEvent(data: JSON, eventType: String, subscriptionId: ID!, waitMs: Int): SendTestEventResult!',
    'deliverEvents(input: DeliverEventsInput!): DeliverEventsResult!',
    'createApiKey(input: CreateApiKeyInput!): CreateApiKeyResult!',
    'revokeApiKey(id: ID!): RevokeApiKeyResult!',
    'createPortalSession(input: CreatePortalSessionInput!): CreatePortalSessionResult!',
    'createConsoleSession: CreateConsoleSessionResult!',
    'exchangePortalCode(code: String!): ExchangePortalCodeResult!',
    'revokePortalSession(id: ID!): RevokePortalSessionResult!',
    'endSession: EndSessionResult!',
    'publishEvent(input: PublishEventInput!): PublishEventResult!',
    'publishEvents(input: PublishEventsInput!): PublishEventsResult!',
    'putEventType(input: PutEventTypeInput!): PutEventTypeResult!',
    'retryDelivery(id: ID!): RetryDeliveryResult!',
    'cancelDelivery(id: ID!): CancelDeliveryResult!',
    'startReplay(input: StartReplayInput!): StartReplayResult!',
    'cancelReplay(id: ID!): CancelReplayResult!',
    'changeReplayRate(id: ID!, ratePerSecond: Int!): ChangeReplayRateResult!',
    'eraseTenant(tenant: String!): EraseTenantResult!',
    'retryDeliveries(input: RetryDeliveriesInput!): RetryDeliveriesResult!',
    'cancelDeliveries(input: CancelDeliveriesInput!): CancelDeliveriesResult!',
    'cancelDeliveryJob(id: ID!): CancelDeliveryJobResult!',
    'changeDeliveryJobRate(id: ID!, ratePerSecond: Int!): ChangeDeliveryJobRateResult!',
    'redactEvent(id: ID!, tenant: String): RedactEventResult!',
  ],
  Query: [
    'webhookSubscription(id: ID!): WebhookSubscription',
    `webhookSubscriptions(${PAGE}, filter: WebhookSubscriptionFilter, ${SIZE}): WebhookSubscriptionConnection!`,
    'delivery(id: ID!): Delivery',
    `deliveries(${PAGE}, filter: DeliveryFilter, ${SIZE}): DeliveryConnection!`,
    'attempt(id: ID!): Attempt',
    `deliveryLog(${PAGE}, filter: DeliveryFilter, ${SIZE}): AttemptConnection!`,
    'event(id: ID!, tenant: String): Event',
    `events(${PAGE}, filter: EventFilter, ${SIZE}): EventConnection!`,
    `rejectedEvents(${PAGE}, filter: RejectedEventFilter, ${SIZE}): RejectedEventConnection!`,
    `apiKeys(${PAGE}, filter: ApiKeyFilter, ${SIZE}): ApiKeyConnection!`,
    'erasure(id: ID!): Erasure',
    'deliveryJob(id: ID!): DeliveryJob',
    `deliveryJobs(${PAGE}, filter: DeliveryJobFilter, ${SIZE}): DeliveryJobConnection!`,
    `erasures(${PAGE}, filter: ErasureFilter, ${SIZE}): ErasureConnection!`,
    `auditLog(${PAGE}, filter: AuditLogFilter, ${SIZE}): AuditEntryConnection!`,
    'eventType(name: String!): EventType',
    `eventTypes(${PAGE}, filter: EventTypeFilter, ${SIZE}): EventTypeConnection!`,
    'observedEventTypes(days: Int, tenant: String): [String!]!',
    'replay(id: ID!): Replay',
    'deliveryStats(bucket: StatsBucket!, filter: DeliveryFilter, from: DateTime!, groupBy: StatsGroup, to: DateTime!, top: Int): DeliveryStats!',
    'deliveryCounts(filter: DeliveryFilter): DeliveryCounts!',
    `replays(${PAGE}, filter: ReplayFilter, ${SIZE}): ReplayConnection!`,
    'testFilter(data: JSON, eventId: ID, filter: JSON!, tenant: String): TestFilterResult!',
    'testFilterOnEvents(eventTypes: [String!], filter: JSON!, last: Int, olderThan: ID, tenant: String): [TestFilterEventResult!]!',
    'verifySignature(input: VerifySignatureInput!): VerifySignatureResult!',
    'search(text: String!): SearchResult!',
    ...['tenant(name: String!): Tenant', `tenants(${PAGE}, filter: TenantFilter, ${SIZE}): TenantConnection!`],
    ...['viewer: Viewer!', 'server: Server!', 'changesCursor: String!', 'deliveryLogCursor: String!'],
  ],
  Subscription: [
    'deliveryLog(after: String, filter: DeliveryFilter): Attempt!',
    'deliveryChanges(after: String, filter: DeliveryFilter): DeliveryChange!',
    'subscriptionChanges(after: String, filter: SubscriptionChangeFilter): SubscriptionChange!',
    'jobChanges(after: String, filter: JobFilter): JobChange!',
    'tenantChanges(after: String, filter: TenantFilter): TenantChange!',
    'eventLog(after: String, filter: EventFilter): LoggedEvent!',
    'rejectedEventLog(after: String, filter: RejectedEventFilter): LoggedRejectedEvent!',
    'replayProgress(id: ID!): Replay!',
    'deliveryJobProgress(id: ID!): DeliveryJob!',
    'serverHealth: ServerHealth!',
  ],
  DeliveryChange: ['cursor: String!', 'delivery: Delivery!'],
  SubscriptionChange: ['cursor: String!', 'subscription: WebhookSubscription!'],
  JobChange: [
    ...['cursor: String!', 'kind: JobKind!'],
    ...['replay: Replay', 'deliveryJob: DeliveryJob', 'erasure: Erasure'],
  ],
  JobFilter: ['tenant: String', 'ids: [ID!]', 'kinds: [JobKind!]'],
  TenantChange: ['cursor: String!', 'tenant: Tenant!'],
  LoggedEvent: ['cursor: String!', 'event: Event!'],
  LoggedRejectedEvent: ['cursor: String!', 'rejectedEvent: RejectedEvent!'],
  SubscriptionChangeFilter: ['tenant: String', 'subscriptionIds: [ID!]'],
  CreateWebhookSubscriptionInput: [
    ...['tenant: String', 'url: String!', 'eventTypes: [String!]!', 'description: String', 'headers: [HeaderInput!]'],
    ...['isActive: Boolean', 'timeoutMs: Int', 'maxInFlight: Int', 'rateLimitPerSecond: Int'],
    'filter: JSON',
  ],
  UpdateWebhookSubscriptionInput: [
    ...['url: String', 'eventTypes: [String!]', 'description: String', 'headers: [HeaderInput!]'],
    ...['isActive: Boolean', 'timeoutMs: Int', 'maxInFlight: Int', 'rateLimitPerSecond: Int'],
    'filter: JSON',
  ],
  HeaderInput: ['name: String!', 'value: String'],
  CreateWebhookSubscriptionPayload: ['subscription: WebhookSubscription!', 'secret: String!'],
  UpdateWebhookSubscriptionPayload: ['subscription: WebhookSubscription!'],
  DeleteWebhookSubscriptionPayload: ['id: ID!'],
  RotateWebhookSecretPayload: [
    'subscription: WebhookSubscription!',
    'secret: String!',
    'previousSecretExpiresAt: DateTime!',
  ],
  SendTestEventPayload: ['delivery: Delivery!', 'attempt: Attempt', 'notice: String'],
  PublishEventInput: ['tenant: String', 'type: String!', 'data: JSON!', 'id: ID', 'occurredAt: DateTime'],
  PublishEventPayload: ['event: Event!', 'isKnown: Boolean!'],
  InvalidInputError: ['code: String!', 'message: String!', 'problems: [InputProblem!]!'],
  InputError: ['code: String!', 'message: String!', 'problems: [InputProblem!]!'],
  InputProblem: ['path: String!', 'message: String!', 'code: String!'],
  PutEventTypeInput: [
    ...['name: String!', 'description: String', 'schema: JSON', 'isArchived: Boolean', 'dryRun: Boolean'],
  ],
  PutEventTypePayload: ['eventType: EventType!', 'trial: EventTypeTrial'],
  EventTypeFilter: ['includeArchived: Boolean'],
  EventType: [
    ...['name: String!', 'description: String!', 'schema: JSON', 'hasSchema: Boolean!', 'isArchived: Boolean!'],
    ...['createdAt: DateTime!', 'updatedAt: DateTime!', 'subscriptionCount(tenant: String): Int'],
    ...['lastEventAt(tenant: String): DateTime', 'example(tenant: String): Event'],
  ],
  RetryDeliveryPayload: ['delivery: Delivery!'],
  CancelDeliveryPayload: ['delivery: Delivery!'],
  StartReplayInput: ['filter: DeliveryFilter!', 'dryRun: Boolean', 'ratePerSecond: Int'],
  StartReplayPayload: ['replay: Replay!'],
  CancelReplayPayload: ['replay: Replay!'],
  ChangeReplayRatePayload: ['replay: Replay!'],
  ReplayFilter: ['tenant: String'],
  RetryDeliveriesInput: ['filter: DeliveryFilter!', 'dryRun: Boolean', 'ratePerSecond: Int'],
  CancelDeliveriesInput: ['filter: DeliveryFilter!', 'dryRun: Boolean', 'ratePerSecond: Int'],
  RetryDeliveriesPayload: ['job: DeliveryJob!'],
  CancelDeliveriesPayload: ['job: DeliveryJob!'],
  CancelDeliveryJobPayload: ['job: DeliveryJob!'],
  ChangeDeliveryJobRatePayload: ['job: DeliveryJob!'],
  DeliveryJobFilter: ['tenant: String'],
  DeliveryJob: [
    ...['id: ID!', 'tenant: String!', 'kind: DeliveryJobKind!', 'status: DeliveryJobStatus!', 'filter: JSON!'],
    ...['ratePerSecond: Int!', 'deliveryCount: Int!', 'changedCount: Int!', 'skippedCount: Int!'],
    ...['createdAt: DateTime!', 'completedAt: DateTime'],
  ],
  EraseTenantPayload: ['erasure: Erasure!'],
  RedactEventPayload: ['event: Event!'],
  ErasureFilter: ['tenant: String'],
  Erasure: [
    ...['id: ID!', 'tenant: String!', 'status: ErasureStatus!', 'deletedRowCount: Int!', 'deletedMessageCount: Int!'],
    ...['remains: [String!]!', 'createdAt: DateTime!', 'completedAt: DateTime'],
  ],
  AuditLogFilter: ['tenant: String', 'mutations: [String!]', 'objectIds: [ID!]', 'from: DateTime', 'to: DateTime'],
  AuditEntry: [
    ...['id: ID!', 'tenant: String', 'mutation: String!', 'actor: AuditActor!', 'objectType: String!', 'objectId: ID'],
    ...['before: JSON', 'after: JSON', 'createdAt: DateTime!'],
  ],
  AuditActor: ['kind: AuditActorKind!', 'scope: ApiKeyScope!', 'id: ID', 'name: String'],
  Replay: [
    ...['id: ID!', 'tenant: String!', 'status: ReplayStatus!', 'filter: JSON!', 'ratePerSecond: Int!'],
    ...['deliveryCount: Int!', 'replayedCount: Int!', 'skippedCount: Int!', 'createdAt: DateTime!'],
    ...['completedAt: DateTime', 'skippedBy: ReplaySkips!', 'sample: [Delivery!]', 'outcome: DeliveryCounts!'],
  ],
  DeliveryFilter: [
    'ids: [ID!]',
    ...['tenant: String', 'subscriptionIds: [ID!]', 'eventTypes: [String!]', 'statuses: [DeliveryStatus!]'],
    ...['statusCodes: [StatusCodeRange!]', 'failureReasons: [FailureReason!]', 'from: DateTime', 'to: DateTime'],
    ...['eventIds: [ID!]', 'waitingFor: [WaitReason!]', 'minResponseTimeMs: Int', 'attemptNumbers: [Int!]'],
  ],
  EventFilter: ['ids: [ID!]', 'tenant: String', 'eventTypes: [String!]', 'from: DateTime', 'to: DateTime'],
  RejectedEventFilter: ['tenant: String', 'reasons: [RejectionReason!]', 'from: DateTime', 'to: DateTime'],
  WebhookSubscriptionFilter: [
    ...['tenant: String', 'subscriptionIds: [ID!]', 'isActive: Boolean', 'search: String', 'failing: Boolean'],
    ...['circuitStates: [CircuitState!]', 'eventType: String', 'paused: Boolean'],
    'deactivationReasons: [DeactivationReason!]',
  ],
  StatusCodeRange: ['from: Int!', 'to: Int!'],
  WebhookSubscription: [
    ...[
      'id: ID!',
      'tenant: String!',
      'url: String!',
      'description: String!',
      'eventTypes: [String!]!',
      'isActive: Boolean!',
    ],
    ...['timeoutMs: Int!', 'headerNames: [String!]!', 'createdAt: DateTime!', 'updatedAt: DateTime!'],
    ...['maxInFlight: Int!', 'rateLimitPerSecond: Int', 'deactivationReason: DeactivationReason'],
    ...['failingSince: DateTime', 'pausedUntil: DateTime', 'circuit: Circuit!'],
    'filter: JSON',
    ...['secrets: [SigningSecret!]!'],
    `deliveries(${PAGE}, filter: DeliveryFilter, ${SIZE}): DeliveryConnection!`,
    `deliveryLog(${PAGE}, filter: DeliveryFilter, ${SIZE}): AttemptConnection!`,
    ...['health: SubscriptionHealth!', 'deletedAt: DateTime'],
    'stats(bucket: StatsBucket!, from: DateTime!, to: DateTime!): DeliveryStats!',
  ],
  SubscriptionHealth: [
    ...['pendingCount: Int!', 'isExact: Boolean!', 'oldestPendingAt: DateTime', 'lastAttemptAt: DateTime'],
    ...['lastSuccessAt: DateTime', 'willDeactivateAt: DateTime'],
  ],
  Circuit: ['state: CircuitState!', 'openedAt: DateTime', 'nextProbeAt: DateTime'],
  SigningSecret: ['id: ID!', 'createdAt: DateTime!', 'expiresAt: DateTime', 'usage: SigningSecretUsage!'],
  SigningSecretUsage: ['attemptCount: Int!', 'successCount: Int!', 'isExact: Boolean!', 'lastAttemptAt: DateTime'],
  Delivery: [
    ...['id: ID!', 'tenant: String!', 'status: DeliveryStatus!', 'attemptCount: Int!', 'nextAttemptAt: DateTime'],
    ...['waitingFor: WaitReason', 'createdAt: DateTime!', 'completedAt: DateTime', 'event: Event'],
    ...['subscription: WebhookSubscription!', `attempts(${PAGE}, ${SIZE}): AttemptConnection!`, 'replay: Replay'],
    ...['isTest: Boolean!', 'plannedAttempts: [PlannedAttempt!]!'],
  ],
  Attempt: [
    ...['id: ID!', 'cursor: String!', 'delivery: Delivery', 'subscription: WebhookSubscription!', 'tenant: String!'],
    ...[
      'eventType: String!',
      'number: Int!',
      'status: AttemptStatus!',
      'failureReason: FailureReason',
      'statusCode: Int',
    ],
    ...['responseTimeMs: Int!', 'startedAt: DateTime!', 'requestHeaders: JSON!', 'responseHeaders: JSON'],
    ...['responseBody: String', 'responseBodyTruncated: Boolean!', 'errorMessage: String', 'payloadSizeBytes: Int!'],
    ...['signingSecretIds: [ID!]!', 'isTest: Boolean!', 'loggedAt: DateTime!', 'url: String!', 'remoteAddress: String'],
    ...['timing: AttemptTiming!', 'requestBody: String', 'deliveryId: ID!', 'subscriptionId: ID!'],
  ],
  AttemptTiming: ['dnsMs: Int', 'connectMs: Int', 'tlsMs: Int', 'firstByteMs: Int', 'bodyMs: Int'],
  Event: [
    ...['id: ID!', 'tenant: String!', 'type: String!', 'occurredAt: DateTime!', 'createdAt: DateTime!', 'data: JSON'],
    `deliveries(${PAGE}, ${SIZE}): DeliveryConnection!`,
    `considered(${PAGE}, ${SIZE}): ConsideredSubscriptionConnection!`,
    ...[
      'dataText: String',
      'sizeBytes: Int!',
      'source: EventSource!',
      'redactedAt: DateTime',
      'summary: DeliveryCounts!',
    ],
  ],
  DeliveryCounts: ['pending: Int!', 'success: Int!', 'failure: Int!', 'cancelled: Int!', 'isExact: Boolean!'],
  CreateApiKeyInput: ['tenant: String', 'name: String!', 'scope: ApiKeyScope!'],
  CreateApiKeyPayload: ['apiKey: ApiKey!', 'key: String!'],
  RevokeApiKeyPayload: ['apiKey: ApiKey!'],
  ApiKeyFilter: ['tenant: String', 'includeRevoked: Boolean'],
  ApiKey: [
    ...['id: ID!', 'name: String!', 'scope: ApiKeyScope!', 'tenant: String'],
    ...['createdAt: DateTime!', 'lastUsedAt: DateTime', 'revokedAt: DateTime'],
  ],
  ConsideredSubscription: ['subscription: WebhookSubscription!', 'result: ConsiderationResult!', 'delivery: Delivery'],
  TestFilterResult: ['matches: Boolean!', 'failedPaths: [String!]!'],
  TestFilterEventResult: ['event: Event!', 'matches: Boolean!', 'failedPaths: [String!]!'],
  SearchResult: [
    ...['webhookSubscription: WebhookSubscription', 'delivery: Delivery', 'attempt: Attempt', 'event: Event'],
    ...['rejectedEvent: RejectedEvent', 'replay: Replay', 'eventType: EventType', 'tenant: Tenant'],
    ...['deliveryJob: DeliveryJob', 'webhookSubscriptionOfSecret: WebhookSubscription', 'auditEntry: AuditEntry'],
    ...['session: Session', 'apiKey: ApiKey', 'erasure: Erasure'],
  ],
  Tenant: ['name: String!', 'figures: TenantFigures!'],
  TenantFigures: [
    ...['subscriptionCount: Int!', 'failingCount: Int!', 'openCircuitCount: Int!', 'lastEventAt: DateTime'],
    ...['pendingCount: Int!', 'isExact: Boolean!'],
  ],
  DeliverEventsInput: ['subscriptionId: ID!', 'eventIds: [ID!]!'],
  DeliverEventsPayload: ['deliveries: [Delivery!]!', 'skippedCount: Int!'],
  ProbeNowPayload: ['subscription: WebhookSubscription!'],
  ExpireSigningSecretPayload: ['subscription: WebhookSubscription!'],
  PlannedAttempt: ['number: Int!', 'at: DateTime!'],
  Viewer: [
    ...['scope: ApiKeyScope!', 'tenant: String', 'subject: String', 'expiresAt: DateTime'],
    ...['subscriptionIds: [ID!]', 'hidePayloads: Boolean!', 'locale: String'],
  ],
  CreatePortalSessionInput: [
    ...['tenant: String', 'scope: ApiKeyScope', 'ttlSeconds: Int', 'subject: String'],
    ...['subscriptionIds: [ID!]', 'hidePayloads: Boolean', 'locale: String'],
  ],
  Session: [
    ...['id: ID!', 'kind: SessionKind!', 'scope: ApiKeyScope!', 'tenant: String', 'subject: String'],
    ...['subscriptionIds: [ID!]', 'hidePayloads: Boolean!', 'locale: String'],
    ...['createdAt: DateTime!', 'expiresAt: DateTime!', 'revokedAt: DateTime'],
  ],
  CreatePortalSessionPayload: ['session: Session!', 'token: String!', 'code: String!', 'url: String'],
  ExchangePortalCodePayload: ['session: Session!', 'token: String!'],
  Server: [
    ...['version: String!', 'time: DateTime!', 'retentionDays: Int!', 'retrySchedule: [Float!]!'],
    ...['limits: ServerLimits!', 'health: ServerHealth', 'processes: ServerProcesses'],
  ],
  ServerProcesses: ['problem: String', 'nodes: [ServerProcess!]!'],
  ServerProcess: [
    ...['id: ID!', 'hostname: String!', 'pid: Int!', 'worker: Int', 'roles: [String!]!', 'version: String!'],
    ...['nodeVersion: String!', 'startedAt: DateTime!', 'answeredAt: DateTime!', 'health: ServerHealth'],
    ...['memoryBytes: Float!', 'attemptsInFlight: Int'],
  ],
  ServerLimits: [
    ...['maxEventDataBytes: Int!', 'maxPageSize: Int!', 'maxSubscriptionsPerTenant: Int!', 'operationsPerSecond: Int!'],
  ],
  ServerHealth: ['isReady: Boolean!', 'parts: [ServerHealthPart!]!'],
  ServerHealthPart: [
    'name: String!',
    'isOk: Boolean!',
    'isNeeded: Boolean!',
    'message: String',
    'warnings: [String!]!',
  ],
  DeliveryStats: ['total: DeliveryStatsBucket!', 'buckets: [DeliveryStatsBucket!]!', 'groups: [DeliveryStatsGroup!]!'],
  DeliveryStatsGroup: ['key: String!', 'total: DeliveryStatsBucket!', 'buckets: [DeliveryStatsBucket!]!'],
  DeliveryStatsBucket: [
    ...['from: DateTime!', 'to: DateTime!', 'attemptCount: Float!', 'successCount: Float!', 'failureCount: Float!'],
    ...['successRate: Float', 'responseTimeMs: ResponseTimes'],
  ],
  ResponseTimes: ['p50: Float!', 'p90: Float!', 'p95: Float!', 'p99: Float!'],
  RejectedEvent: [
    ...['id: ID!', 'tenant: String', 'subject: String!', 'reason: RejectionReason!', 'message: String!'],
    ...['sizeBytes: Int!', 'createdAt: DateTime!'],
  ],
};

describe('the contract', () => {
  test.each(Object.keys(CONTRACT))('%s has exactly the promised fields', (name) => {
    expect(fieldsOf(name).sort()).toEqual([...(CONTRACT[name] ?? [])].sort());
  });

  test('each mutation returns a union of its payload and errors with a code and a message', () => {
    for (const field of Object.values(schema.getMutationType()?.getFields() ?? {})) {
      const name = `${field.name.charAt(0).toUpperCase()}${field.name.slice(1)}`;
      const members = (membersOf(`${name}Result`) ?? []).filter((member) => member.name !== `${name}Payload`);
      expect(membersOf(`${name}Result`)?.map((member) => member.name)).toContain(`${name}Payload`);
      expect(members.length).toBeGreaterThan(0);
      for (const member of members)
        expect(fieldsOf(member.name)).toEqual(expect.arrayContaining(['code: String!', 'message: String!']));
    }
  });

  test('every input error lists its problems in the same way', () => {
    const type = schema.getType('InputError');
    if (!isInterfaceType(type)) throw new Error('there is no interface InputError');
    const names = schema.getPossibleTypes(type).map(({ name }) => name);
    expect(names.sort()).toEqual([
      ...['EventDataInvalidError', 'InvalidHeadersError', 'InvalidInputError', 'TargetRejectedError'],
    ]);
    const withProblems = Object.values(schema.getTypeMap()).filter(
      (one) => isObjectType(one) && 'problems' in one.getFields(),
    );
    // The result of an event is not an error: the event can be accepted.
    expect(withProblems.map(({ name }) => name).sort()).toEqual([...names, 'PublishedEventResult'].sort());
  });

  test('overlapSeconds is a day by default', () => {
    const field = schema.getMutationType()?.getFields()['rotateWebhookSecret'];
    expect(field?.args.find(({ name }) => name === 'overlapSeconds')?.defaultValue).toBe(86_400);
  });

  test('by default, a replay is not a dry run, and creates 50 deliveries a second', () => {
    const type = schema.getType('StartReplayInput');
    if (!(type instanceof GraphQLInputObjectType)) throw new Error('there is no StartReplayInput');
    const defaults = Object.values(type.getFields()).map(({ name, defaultValue }): [string, unknown] => [
      name,
      defaultValue,
    ]);
    expect(Object.fromEntries(defaults)).toEqual({ filter: undefined, dryRun: false, ratePerSecond: 50 });
  });

  test('every type, enum value, root field, input field and argument has a description', () => {
    const own = Object.values(schema.getTypeMap()).filter(({ name }) => !name.startsWith('__') && !isBuiltIn(name));
    const said = own.flatMap((type) => [[type.name, type] as const, ...partsOf(type)]);
    // The walk must find the members.
    expect(said.length).toBeGreaterThan(300);
    expect(said.filter(([, { description }]) => !description).map(([name]) => name)).toEqual([]);
  });

  test.each(['first', 'last', 'after', 'before'])(
    'the argument %s has the same description for every connection',
    (name) => {
      const descriptions = Object.values(schema.getTypeMap())
        .filter(isObjectType)
        .flatMap((type) => Object.values(type.getFields()))
        .filter(({ type }) => /Connection!$/.test(String(type)))
        .map(({ args }) => args.find((arg) => arg.name === name)?.description);
      expect(descriptions.length).toBeGreaterThan(10);
      expect(new Set(descriptions).size).toBe(1);
      if (name === 'first') expect(descriptions[0]).toMatch(/at most 250.*Default: 50/);
      if (name === 'last') expect(descriptions[0]).toMatch(/at most 250/);
    },
  );
});

/** The built-in scalars of GraphQL. */
function isBuiltIn(name: string): boolean {
  return specifiedScalarTypes.some((scalar) => scalar.name === name);
}

type Described = { readonly name: string; readonly description?: string | null | undefined };
type Part = readonly [name: string, Described];

/** The parts of a type that need a description; fields of an object type only if they are root fields. */
function partsOf(type: GraphQLNamedType): Part[] {
  const part = (value: Described): Part => [`${type.name}.${value.name}`, value];
  if (isEnumType(type)) return type.getValues().map(part);
  if (isInputObjectType(type)) return Object.values(type.getFields()).map(part);
  if (!isObjectType(type)) return [];
  const fields = Object.values(type.getFields());
  const args = fields.flatMap((field) =>
    field.args.map((arg): Part => [`${type.name}.${field.name}(${arg.name})`, arg]),
  );
  return ['Query', 'Mutation', 'Subscription'].includes(type.name) ? [...fields.map(part), ...args] : args;
}

function membersOf(name: string): readonly GraphQLNamedType[] | undefined {
  const type = schema.getType(name);
  return type !== undefined && 'getTypes' in type ? type.getTypes() : undefined;
}
