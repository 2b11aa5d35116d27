import { isUuid } from '../lib/uuid7.ts';
import type { Queryable } from '../postgres/client.ts';
import { SETTING_ROWS } from '../subscriptions/settings.ts';

/** The state of an object for comparison in the audit log: settings without secrets, by their names in the API. */
export type Snapshot = {
  readonly tenant: string | null;
  readonly settings: Readonly<Record<string, unknown>>;
};

type SnapshotRule = {
  /** Selects `tenant` and the JSON object `settings` of row $1 (of tenant $2, unless $2 is null), and locks the row. */
  readonly sql: string;
  readonly isId: (id: string) => boolean;
};

/** `columns`: SQL by field name. Only these columns are recorded, so a new column with a secret is not recorded. */
function settings(columns: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(columns).map(([name, column]) => `'${name}', ${column}`);
  return `json_build_object(${pairs.join(', ')}) AS settings`;
}

const SUBSCRIPTION_COLUMNS = {
  ...Object.fromEntries(
    SETTING_ROWS.flatMap(([name, { column }]) => (column === undefined ? [] : [[name, `t.${column}`]])),
  ),
  headerNames: 't.header_names',
  deactivationReason: 't.deactivation_reason',
  pausedUntil: '(SELECT st.paused_until FROM subscription_states st WHERE st.subscription_id = t.id)',
  signingSecrets: `(SELECT jsonb_agg(jsonb_build_object('id', k.id, 'expiresAt', k.expires_at) ORDER BY k.id)
    FROM signing_secrets k WHERE k.subscription_id = t.id)`,
};

const SESSION_COLUMNS = {
  kind: 't.kind',
  subject: 't.name',
  scope: 't.scope',
  subscriptionIds: 't.subscription_ids',
  hidePayloads: 't.hides_payloads',
  expiresAt: 't.expires_at',
  revokedAt: 't.revoked_at',
};

// The statements take the locks that the mutations take next, in the same order (delivery/queue/store.ts), and never lock a
// row of another tenant.
const OF_TENANT = 'AND ($2::text IS NULL OR t.tenant = $2)';
const LOCK = 'FOR NO KEY UPDATE OF t';

const JOB: SnapshotRule = {
  sql: `SELECT t.tenant, ${settings({ status: 't.status', filter: 't.filter', ratePerSecond: 't.rate_per_second' })}
      FROM replays t WHERE t.id = $1::uuid ${OF_TENANT} ${LOCK}`,
  isId: isUuid,
};

/** Rules by GraphQL type. Objects of other types have no snapshot. */
const RULES: Readonly<Record<string, SnapshotRule>> = {
  WebhookSubscription: {
    sql: `SELECT t.tenant, ${settings(SUBSCRIPTION_COLUMNS)}
      FROM webhook_subscriptions t WHERE t.id = $1::uuid AND t.deleted_at IS NULL ${OF_TENANT} ${LOCK}`,
    isId: isUuid,
  },
  Delivery: {
    sql: `SELECT t.tenant, ${settings({ status: 't.status', attemptCount: 't.attempt_count' })}
      FROM deliveries t WHERE t.id = $1::uuid ${OF_TENANT} ${LOCK}`,
    isId: isUuid,
  },
  Replay: JOB,
  DeliveryJob: JOB,
  ApiKey: {
    sql: `SELECT t.tenant, ${settings({ name: 't.name', scope: 't.scope', revokedAt: 't.revoked_at' })}
      FROM api_keys t WHERE t.id = $1::uuid ${OF_TENANT} ${LOCK}`,
    isId: isUuid,
  },
  Session: {
    sql: `SELECT t.tenant, ${settings(SESSION_COLUMNS)}
      FROM api_keys t WHERE t.id = $1::uuid AND t.kind <> 'KEY' ${OF_TENANT} ${LOCK}`,
    isId: isUuid,
  },
  EventType: {
    sql: `SELECT NULL AS tenant, ${settings({ description: 't.description', schema: 't.schema', isArchived: 't.is_archived' })}
      FROM event_types t WHERE t.name = $1 AND $2::text IS NULL ${LOCK}`,
    isId: (name) => !name.includes('\0'),
  },
};

export type ObjectKey = {
  /** The GraphQL type. */
  readonly type: string;
  readonly id: string | undefined;
  /** The tenant that the object must belong to; undefined: any. */
  readonly tenant: string | undefined;
};

/** Reads an object and locks its row until the transaction ends; undefined if it does not exist. */
export async function readSnapshot(db: Queryable, { type, id, tenant }: ObjectKey): Promise<Snapshot | undefined> {
  const rule = RULES[type];
  if (rule === undefined || id === undefined || !rule.isId(id)) return undefined;
  const { rows } = await db.query<Snapshot>(rule.sql, [id, tenant ?? null]);
  return rows[0];
}

/** Maximum characters of JSON of one recorded value. Bounds a row to about 100 KiB; the largest usual value has 16 KiB. */
const MAX_VALUE_LENGTH = 16_384;

type Settings = Snapshot['settings'] | null;

/** The settings that differ. `before` or `after` is null if the object did not exist then. */
export function differences(
  before: Settings,
  after: Settings,
): { readonly before: Settings; readonly after: Settings } {
  const names = Object.keys(after ?? before ?? {}).filter((name) => !isSame(before?.[name], after?.[name]));
  const pick = (side: Settings) => side && Object.fromEntries(names.map((name) => [name, bounded(side[name])]));
  return { before: pick(before), after: pick(after) };
}

function isSame(one: unknown, other: unknown): boolean {
  // Postgres writes the members of both objects in the same order.
  return JSON.stringify(one) === JSON.stringify(other);
}

function bounded(value: unknown): unknown {
  const length = JSON.stringify(value ?? null).length;
  return length <= MAX_VALUE_LENGTH ? (value ?? null) : { omittedCharacters: length };
}
