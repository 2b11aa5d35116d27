import type { TenantOrProblem } from '../auth/viewer.ts';
import { checkTargetUrl, type EgressPolicy, TargetRejectedError } from '../delivery/http/egress-policy.ts';
import { CANCEL_LIMIT_ON_DEACTIVATION, cancelPending } from '../delivery/queue/cancel.ts';
import { closeCircuit } from '../delivery/queue/state.ts';
import { problemsOfUnknownTypes } from '../events/catalogue/service.ts';
import { MAX_TENANT_JSON_BYTES } from '../events/matching/subscription-index.ts';
import { Prisma, type WebhookSubscription } from '../generated/prisma/client.ts';
import { DomainError, type InputProblem, InvalidInputError, NotFoundError } from '../lib/errors.ts';
import { isUuid, uuid7 } from '../lib/uuid7.ts';
import { type Database, mutateWithPrisma, type Queryable, queryableOf } from '../postgres/client.ts';
import { readClock } from '../postgres/connection.ts';
import {
  type CustomHeader,
  completeHeaders,
  type GivenHeader,
  InvalidHeadersError,
  keepsValues,
  problemsOfHeaders,
  type StoredHeaders,
} from './headers.ts';
import { generateSigningSecret, headersContext, type SecretBox, secretContext } from './secrets.ts';
import {
  problemsOfSettings,
  type RequiredSettings,
  SETTING_ROWS,
  type SettingName,
  type WebhookSubscriptionSettings,
} from './settings.ts';

export type WebhookSubscriptionServices = {
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly egressPolicy: EgressPolicy;
  /** Counts subscriptions that are not deleted, active or not. */
  readonly maxSubscriptionsPerTenant: number;
};

/** `spend` charges CPU time to the tenant's account, in milliseconds. */
type ChangeServices = WebhookSubscriptionServices & { readonly spend: (ms: number) => void };

/** The id of a subscription, and the tenant that it must belong to; undefined: any tenant. */
export type SubscriptionKey = { readonly id: string; readonly tenant: string | undefined };

/** The subscription, and its new signing secret, which cannot be read later. */
export type SubscriptionWithSecret = { readonly subscription: WebhookSubscription; readonly secret: string };

type CreateInput = WebhookSubscriptionSettings & RequiredSettings & TenantOrProblem;

const MAX_OLD_SECRETS = 10;
const MAX_OVERLAP_SECONDS = 604_800;

/** Throws an InputError, a TooManySubscriptionsError or a SubscriptionsTooLargeError. */
export async function createWebhookSubscription(
  services: ChangeServices,
  input: CreateInput,
): Promise<SubscriptionWithSecret> {
  const { eventTypes, headers, tenantProblem } = input;
  const { url, problems } = checkUrl(input.url, services.egressPolicy);
  const tenant = input.tenant ?? '';
  throwIfAny([
    ...(tenantProblem === undefined ? [] : [{ path: 'tenant', message: tenantProblem }]),
    ...problems,
    ...problemsOfSettings(input),
    ...problemsOfHeaders(headers ?? [], NO_HEADERS),
    ...(await problemsOfUnknownTypes(services.database.prisma, { eventTypes, spend: services.spend })),
  ]);
  const id = uuid7(services.database.clock.now());
  const secret = generateSigningSecret();
  const data = {
    ...storedSettings(input),
    id,
    tenant,
    url,
    eventTypes: [...eventTypes],
    ...sealHeaders(services.secretBox, { id, tenant, headers: completeHeaders(headers ?? [], NO_HEADERS) }),
    secrets: { create: sealSecret(services.secretBox, { secret, tenant, timeMs: services.database.clock.now() }) },
  };
  const subscription = await mutateWithPrisma(services.database, async (transaction) => {
    const created = await transaction.webhookSubscription.create({ data });
    const count = await checkTenantSize(transaction, tenant);
    if (count > services.maxSubscriptionsPerTenant) {
      throw new TooManySubscriptionsError(services.maxSubscriptionsPerTenant);
    }
    return created;
  });
  return { subscription, secret };
}

type Update = SubscriptionKey & {
  readonly settings: WebhookSubscriptionSettings;
  /** The `updatedAt` that the caller has read. The update fails if it has changed; undefined: the update never fails so. */
  readonly ifUnchangedSince?: Date | undefined;
};

/**
 * Throws NotFoundError, SubscriptionChangedError, SubscriptionsTooLargeError or an InputError. Deactivating cancels the
 * pending deliveries. Activating, or changing the URL, closes the circuit and discards earlier failures.
 */
export async function updateWebhookSubscription(
  services: ChangeServices,
  { settings, ifUnchangedSince, ...key }: Update,
): Promise<WebhookSubscription> {
  const { secretBox, spend } = services;
  const target = settings.url == null ? undefined : checkUrl(settings.url, services.egressPolicy);
  const ownProblems = [...(target?.problems ?? []), ...problemsOfSettings(settings)];
  const mayGrow = settings.eventTypes != null || settings.filter != null;
  return mutateWithPrisma(services.database, async (transaction) => {
    const { id, tenant, ...old } = await lockSubscription(transaction, key);
    if (ifUnchangedSince !== undefined && old.updatedAt > ifUnchangedSince) throw new SubscriptionChangedError();
    const given = settings.headers ?? undefined;
    const stored = given === undefined ? NO_HEADERS : storedHeaders(secretBox, { id, tenant, given, ...old });
    const eventTypes = settings.eventTypes ?? [];
    throwIfAny([
      ...ownProblems,
      ...problemsOfHeaders(given ?? [], stored),
      ...(await problemsOfUnknownTypes(transaction, { eventTypes, known: old.eventTypes, spend })),
    ]);
    const data = {
      ...storedSettings({ ...settings, url: target?.url }),
      ...(given !== undefined && sealHeaders(secretBox, { id, tenant, headers: completeHeaders(given, stored) })),
      ...(settings.isActive === true && { deactivationReason: null }),
    };
    const subscription = await save(services.database, transaction, { id, data });
    if (mayGrow) await checkTenantSize(transaction, tenant);
    const { isActive } = subscription;
    if (old.isActive && !isActive) await endDeliveries(transaction, id);
    else if (old.isActive !== isActive || old.url !== subscription.url) {
      await closeCircuit(queryableOf(transaction), id);
    }
    return subscription;
  });
}

type Columns = { readonly id: string; readonly data: Prisma.WebhookSubscriptionUncheckedUpdateInput };

/** Updates the row, or leaves it and the audit log as they are if there is nothing to change. */
function save(
  { recorder }: Pick<Database, 'recorder'>,
  { webhookSubscription }: Prisma.TransactionClient,
  { id, data }: Columns,
): Promise<WebhookSubscription> {
  const where = { id };
  if (Object.keys(data).length > 0) return webhookSubscription.update({ where, data });
  recorder?.omit();
  return webhookSubscription.findUniqueOrThrow({ where });
}

/**
 * Throws NotFoundError. The row is kept for the delivery log, without the event types and the filter, which may be large; for
 * past events they are in matching_settings.
 */
export async function deleteWebhookSubscription(
  { database }: Pick<WebhookSubscriptionServices, 'database'>,
  key: SubscriptionKey,
): Promise<void> {
  await mutateWithPrisma(database, async (transaction) => {
    const { id } = await lockSubscription(transaction, key);
    await transaction.webhookSubscription.update({
      where: { id },
      data: { isActive: false, deletedAt: new Date(database.clock.now()), eventTypes: [], filter: Prisma.DbNull },
    });
    await endDeliveries(transaction, id);
  });
}

/**
 * Creates a new signing secret. Old secrets also sign for `overlapSeconds`, or until their own earlier expiry.
 * Throws NotFoundError, InvalidInputError or TooManySecretsError.
 */
export async function rotateWebhookSecret(
  { database, secretBox }: Pick<WebhookSubscriptionServices, 'database' | 'secretBox'>,
  { overlapSeconds, ...key }: SubscriptionKey & { readonly overlapSeconds: number },
): Promise<SubscriptionWithSecret & { readonly previousSecretExpiresAt: Date }> {
  if (overlapSeconds < 0 || overlapSeconds > MAX_OVERLAP_SECONDS) {
    throw new InvalidInputError([{ path: 'overlapSeconds', message: `must be from 0 to ${MAX_OVERLAP_SECONDS}` }]);
  }
  return mutateWithPrisma(database, async (transaction) => {
    const { id, tenant } = await lockSubscription(transaction, key);
    const now = new Date(await readClock(queryableOf(transaction)));
    const previousSecretExpiresAt = new Date(now.getTime() + overlapSeconds * 1_000);
    const ofSubscription = { subscriptionId: id };
    await transaction.signingSecret.updateMany({
      where: { ...ofSubscription, OR: [{ expiresAt: null }, { expiresAt: { gt: previousSecretExpiresAt } }] },
      data: { expiresAt: previousSecretExpiresAt },
    });
    await transaction.signingSecret.deleteMany({ where: { ...ofSubscription, expiresAt: { lte: now } } });
    const oldSecrets = await transaction.signingSecret.count({ where: ofSubscription });
    if (oldSecrets > MAX_OLD_SECRETS) throw new TooManySecretsError(MAX_OLD_SECRETS);
    const secret = generateSigningSecret();
    await transaction.signingSecret.create({
      data: { ...sealSecret(secretBox, { secret, tenant, timeMs: now.getTime() }), subscriptionId: id },
    });
    // Any update of the row fires the trigger that notifies the senders' caches.
    const subscription = await transaction.webhookSubscription.update({ where: { id }, data: { updatedAt: now } });
    return { subscription, secret, previousSecretExpiresAt };
  });
}

/**
 * Ends the overlap of an old signing secret, which then signs no further request. Throws NotFoundError, also for a secret of
 * another subscription, or InvalidInputError for the current secret.
 */
export async function expireSigningSecret(
  { database }: Pick<WebhookSubscriptionServices, 'database'>,
  { secretId, ...key }: SubscriptionKey & { readonly secretId: string },
): Promise<WebhookSubscription> {
  return mutateWithPrisma(database, async (transaction) => {
    const { id } = await lockSubscription(transaction, key);
    const now = new Date(await readClock(queryableOf(transaction)));
    const secret = isUuid(secretId)
      ? await transaction.signingSecret.findFirst({ where: { id: secretId, subscriptionId: id } })
      : null;
    if (secret === null) throw new NotFoundError('signing secret');
    if (secret.expiresAt === null) {
      const message = 'is the current secret; rotate it with overlapSeconds 0 instead';
      throw new InvalidInputError([{ path: 'secretId', message }]);
    }
    if (secret.expiresAt > now) {
      await transaction.signingSecret.update({ where: { id: secretId }, data: { expiresAt: now } });
    }
    // Any update of the row fires the trigger that notifies the senders' caches.
    return transaction.webhookSubscription.update({ where: { id }, data: { updatedAt: now } });
  });
}

/**
 * Throws SubscriptionsTooLargeError, or returns the number of the tenant's subscriptions. Call this after a change: the trigger
 * that assigns versions has then locked the tenant, so concurrent changes of a tenant are counted one by one. The size is that
 * of the columns, because `jsonb` writes a number such as 1e300 with all its digits.
 */
async function checkTenantSize(transaction: Prisma.TransactionClient, tenant: string): Promise<number> {
  const [row] = await transaction.$queryRaw<{ readonly count: number; readonly bytes: number }[]>`
    SELECT count(*)::integer AS count, coalesce(sum(
      octet_length(array_to_json(event_types)::text) + coalesce(octet_length(filter::text), 0)
    ), 0)::integer AS bytes
    FROM webhook_subscriptions WHERE tenant = ${tenant} AND deleted_at IS NULL`;
  const { count = 0, bytes = 0 } = row ?? {};
  if (bytes > MAX_TENANT_JSON_BYTES) throw new SubscriptionsTooLargeError(bytes);
  return count;
}

type LockedSubscription = Pick<
  WebhookSubscription,
  'id' | 'tenant' | 'url' | 'isActive' | 'eventTypes' | 'encryptedHeaders' | 'updatedAt'
>;

/**
 * Locks the row until the transaction ends, which serializes changes of one subscription. FOR UPDATE could deadlock: another
 * transaction that has locked the subscription's state and writes it twice makes Postgres check the foreign key, which locks
 * this row for key share, while this transaction is going to lock the state. FOR NO KEY UPDATE does not conflict with that.
 */
async function lockSubscription(
  transaction: Prisma.TransactionClient,
  { id, tenant }: SubscriptionKey,
): Promise<LockedSubscription> {
  // The condition on the tenant prevents locking, or waiting for, a row of another tenant.
  const [row] = isUuid(id)
    ? await transaction.$queryRaw<LockedSubscription[]>`
        SELECT id, tenant, url, is_active AS "isActive", event_types AS "eventTypes",
          encrypted_headers AS "encryptedHeaders", updated_at AS "updatedAt"
        FROM webhook_subscriptions
        WHERE id = ${id}::uuid AND (${tenant ?? null}::text IS NULL OR tenant = ${tenant ?? null}) AND deleted_at IS NULL
        FOR NO KEY UPDATE`
    : [];
  if (row === undefined) throw new NotFoundError('webhook subscription');
  return row;
}

/** Throws NotFoundError if the subscription does not exist, is deleted, or belongs to another tenant. */
export async function assertExists(db: Queryable, { id, tenant }: SubscriptionKey): Promise<void> {
  const { rows } = isUuid(id)
    ? await db.query(
        `SELECT FROM webhook_subscriptions WHERE id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR tenant = $2)`,
        [id, tenant ?? null],
      )
    : { rows: [] };
  if (rows.length === 0) throw new NotFoundError('webhook subscription');
}

/** Cancels pending deliveries of an inactive subscription. The sweeper cancels the rest of a large backlog. */
async function endDeliveries(transaction: Prisma.TransactionClient, subscriptionId: string): Promise<void> {
  const db = queryableOf(transaction);
  await cancelPending(db, { subscriptionId, limit: CANCEL_LIMIT_ON_DEACTIVATION });
  // Makes the sweeper process the subscription immediately. Last, because deliveries are always locked before states.
  await closeCircuit(db, subscriptionId);
}

type StoredSettings = Partial<Pick<Prisma.WebhookSubscriptionUncheckedCreateInput, Exclude<SettingName, 'headers'>>>;

/** The columns of the given settings, except headers. Null is ignored for settings that cannot be null. */
function storedSettings(settings: WebhookSubscriptionSettings): StoredSettings {
  const given = SETTING_ROWS.filter(([name, { column, default: value }]) => {
    const isNullable = value === null;
    return column !== undefined && (isNullable ? settings[name] !== undefined : settings[name] != null);
  });
  const values = given.map(([name]) => [name, name === 'filter' ? toColumn(settings.filter) : settings[name]]);
  // `as`: the names and types of SETTINGS are those of the columns.
  return Object.fromEntries(values) as StoredSettings;
}

function toColumn(filter: unknown) {
  // A plain copy, because objects from GraphQL literals have no prototype. `as`: the filter has been validated.
  return filter === null ? Prisma.DbNull : (JSON.parse(JSON.stringify(filter)) as Prisma.InputJsonObject);
}

const NO_HEADERS: StoredHeaders = new Map();

type KeptHeaders = Pick<WebhookSubscription, 'id' | 'tenant' | 'encryptedHeaders'> & {
  readonly given: readonly GivenHeader[];
};

/** The stored headers, decrypted only if a given header keeps its value. */
function storedHeaders(secretBox: SecretBox, { id, tenant, encryptedHeaders, given }: KeptHeaders): StoredHeaders {
  if (encryptedHeaders === null || !keepsValues(given)) return NO_HEADERS;
  // `as`: sealHeaders encrypted this object.
  const values = JSON.parse(secretBox.open(encryptedHeaders, headersContext(id, tenant))) as Record<string, string>;
  return new Map(Object.entries(values).map(([name, value]) => [name.toLowerCase(), value]));
}

/** Throws all problems as one error: the error class of their code if all have the same, otherwise an InvalidInputError. */
function throwIfAny(problems: readonly InputProblem[]): void {
  if (problems.length === 0) return;
  const areAll = (code: InputProblem['code']) => problems.every((problem) => problem.code === code);
  if (areAll('TARGET_REJECTED')) throw new TargetRejectedError(problems);
  if (areAll('INVALID_HEADERS')) throw new InvalidHeadersError(problems);
  throw new InvalidInputError(problems);
}

type CheckedUrl = { readonly url: string; readonly problems: readonly InputProblem[] };

function checkUrl(text: string, policy: EgressPolicy): CheckedUrl {
  try {
    return { url: checkTargetUrl(text, policy).href, problems: [] };
  } catch (error) {
    if (error instanceof TargetRejectedError) return { url: text, problems: error.problems };
    throw error;
  }
}

type HeaderOwner = { readonly id: string; readonly tenant: string; readonly headers: readonly CustomHeader[] };

function sealHeaders(secretBox: SecretBox, { id, tenant, headers }: HeaderOwner) {
  const values = JSON.stringify(Object.fromEntries(headers.map(({ name, value }) => [name, value])));
  return {
    headerNames: headers.map(({ name }) => name),
    encryptedHeaders: headers.length === 0 ? null : secretBox.seal(values, headersContext(id, tenant)),
  };
}

type NewSecret = { readonly secret: string; readonly tenant: string; readonly timeMs: number };

function sealSecret(secretBox: SecretBox, { secret, tenant, timeMs }: NewSecret) {
  const id = uuid7(timeMs);
  return { id, encryptedSecret: secretBox.seal(secret, secretContext(id, tenant)) };
}

/** Each valid secret adds a signature to every request, so their number is limited. */
export class TooManySecretsError extends DomainError {
  readonly code = 'TOO_MANY_SECRETS';

  constructor(limit: number) {
    super(`at most ${limit} old secrets can overlap; wait until one expires, or rotate with overlapSeconds 0`);
  }
}

/** The number of webhook subscriptions is limited, because each can create a delivery of the same event. */
export class TooManySubscriptionsError extends DomainError {
  readonly code = 'TOO_MANY_SUBSCRIPTIONS';

  constructor(limit: number) {
    super(`a tenant may have at most ${limit} webhook subscriptions, active or not; delete one first`);
  }
}

/** The processes that match events keep the event types and filters of a tenant in memory. */
export class SubscriptionsTooLargeError extends DomainError {
  readonly code = 'SUBSCRIPTIONS_TOO_LARGE';

  constructor(bytes: number) {
    const limit = `at most ${MAX_TENANT_JSON_BYTES} bytes of JSON together`;
    super(`event types and filters of a tenant may have ${limit}, active or not; with this change they have ${bytes}`);
  }
}

/** Another client has changed the subscription since the caller read it. */
export class SubscriptionChangedError extends DomainError {
  readonly code = 'SUBSCRIPTION_CHANGED';

  constructor() {
    super('the webhook subscription was changed after ifUnchangedSince; read it again');
  }
}
