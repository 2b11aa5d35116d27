import type { Logger } from 'pino';
import { patternsOf } from '../../events/event-type.ts';
import { compileFilter } from '../../events/matching/filter.ts';
import { emitSystemEvent, matchingSubscriptions } from '../../events/system-event.ts';
import { Loop } from '../../lib/loop.ts';
import { type Database, type Queryable, transaction } from '../../postgres/client.ts';
import { failureLevel } from '../../postgres/errors.ts';
import { type DeliveryMessage, publishEventMessages } from '../queue/message.ts';
import type { DeliveryStream } from '../queue/stream.ts';

type OmittedNoticesOptions = { readonly database: Database; readonly deliveries: DeliveryStream; readonly log: Logger };

const OMITTED_INTERVAL_MS = 5_000;
/** Maximum notices per minute, tenant and event type. After the minute, one notice has the number of the omitted ones. */
const MAX_PER_MINUTE = 10;

/** Sends, after each minute, one notice in place of those that exceeded the limit. */
export class OmittedNotices extends Loop {
  readonly #options: OmittedNoticesOptions;

  constructor(options: OmittedNoticesOptions) {
    super({
      log: options.log,
      work: 'sending omitted notices',
      retryMs: OMITTED_INTERVAL_MS,
      levelOf: failureLevel,
    });
    this.#options = options;
  }

  /** Sends at most one notice per round. If it sent one, the next round starts immediately. */
  protected async round(): Promise<number> {
    const { database, deliveries } = this.#options;
    if (!deliveries.connected) return OMITTED_INTERVAL_MS;
    const messages = await transaction(database.pool, recordOmittedNotice);
    if (messages === undefined) return OMITTED_INTERVAL_MS;
    await publishEventMessages(this.#options, messages);
    return 0;
  }
}

export type NewNotice = {
  readonly tenant: string;
  /** The subscription that the notice is about. It does not receive the notice itself. */
  readonly subscriptionId: string;
  /** Only the host is published: paths and queries of webhook URLs often contain secrets. */
  readonly url: string;
  readonly type: `webhook_subscription.${'failing' | 'recovered' | 'deactivated'}`;
  readonly data: Readonly<Record<string, unknown>>;
};

/**
 * Records an event that tells the tenant's matching subscriptions about one of them, in the transaction of the change that it
 * reports. Returns the messages to publish after the commit: none if the tenant has reached the limit of the event type
 * (see recordOmittedNotice). The transaction has locked the state of one subscription and must lock no other: two
 * subscriptions that fail together would deadlock.
 */
export async function recordNotice(db: Queryable, given: NewNotice): Promise<DeliveryMessage[]> {
  const notice = toNotice(given);
  if (await admitNotice(db, notice)) return emitNotice(db, notice);
  await countOmitted(db, notice);
  return [];
}

/** Like recordNotice, but undefined if the tenant has reached the limit: the caller must try again later. */
export async function tryNotice(db: Queryable, given: NewNotice): Promise<DeliveryMessage[] | undefined> {
  const notice = toNotice(given);
  return (await admitNotice(db, notice)) ? emitNotice(db, notice) : undefined;
}

function toNotice({ tenant, subscriptionId, type, url, data }: NewNotice): Notice {
  return { tenant, subscriptionId, type, data: JSON.stringify({ subscriptionId, host: new URL(url).host, ...data }) };
}

/** Records the latest omitted notice of a tenant and type, with the number of the others; undefined if there is none. */
export async function recordOmittedNotice(db: Queryable): Promise<DeliveryMessage[] | undefined> {
  const omitted = await takeOmittedNotice(db);
  if (omitted === undefined) return undefined;
  const { omittedCount, ...notice } = omitted;
  // `as`: written by recordNotice.
  const data = JSON.parse(notice.data) as object;
  return emitNotice(db, { ...notice, data: JSON.stringify({ ...data, omittedCount: omittedCount - 1 }) });
}

async function emitNotice(db: Queryable, { tenant, subscriptionId, type, data }: Notice): Promise<DeliveryMessage[]> {
  const matching = await matchingSubscriptions(db, { tenant, patterns: patternsOf(type) });
  // Filters are evaluated on the parsed data, as for published events.
  const parsed: unknown = JSON.parse(data);
  const subscriptionIds = matching
    .filter(({ id, filter }) => id !== subscriptionId && (filter === null || compileFilter(filter)(parsed)))
    .map(({ id }) => id);
  // A UTF-16 code unit has at most 4 bytes in UTF-8, so this limit always permits the data to be part of the message.
  return emitSystemEvent(db, { tenant, type, data, subscriptionIds }, { maxDataBytes: data.length * 4, isTest: false });
}

/** A notification of a tenant about one of its subscriptions. */
type Notice = {
  readonly tenant: string;
  readonly type: string;
  readonly subscriptionId: string;
  /** JSON. */
  readonly data: string;
};

const IS_SAME_MINUTE = `l.minute_from > now() - interval '1 minute'`;

/**
 * Returns whether a notice may be sent now. Locks a row of notice_limits until the transaction ends; to avoid deadlocks, the
 * caller must afterwards take no lock that another transaction with such a row may hold.
 */
async function admitNotice(db: Queryable, { tenant, type }: Notice): Promise<boolean> {
  const { rows } = await db.query<{ isAdmitted: boolean }>(
    `INSERT INTO notice_limits AS l (tenant, type, minute_from, count) VALUES ($1, $2, now(), 1)
     ON CONFLICT (tenant, type) DO UPDATE SET
       minute_from = CASE WHEN ${IS_SAME_MINUTE} THEN l.minute_from ELSE now() END,
       count = CASE WHEN ${IS_SAME_MINUTE} THEN l.count + 1 ELSE 1 END
     RETURNING count <= ${MAX_PER_MINUTE} AS "isAdmitted"`,
    [tenant, type],
  );
  return rows[0]?.isAdmitted === true;
}

/** Counts a notice that was not admitted, and stores it for takeOmittedNotice unless a later one follows. */
async function countOmitted(db: Queryable, { tenant, type, subscriptionId, data }: Notice): Promise<void> {
  await db.query(
    `UPDATE notice_limits SET omitted_count = omitted_count + 1, latest_subscription_id = $3, latest_data = $4
     WHERE tenant = $1 AND type = $2`,
    [tenant, type, subscriptionId, data],
  );
}

/** Takes the latest omitted notice of a tenant and type whose minute has ended, with the number of omitted notices. */
async function takeOmittedNotice(db: Queryable): Promise<(Notice & { readonly omittedCount: number }) | undefined> {
  const { rows } = await db.query<Notice & { readonly omittedCount: number }>(
    `WITH due AS (
       SELECT * FROM notice_limits l WHERE omitted_count > 0 AND NOT ${IS_SAME_MINUTE}
       ORDER BY minute_from LIMIT 1 FOR UPDATE SKIP LOCKED)
     UPDATE notice_limits l SET omitted_count = 0, latest_subscription_id = NULL, latest_data = NULL
     FROM due WHERE l.tenant = due.tenant AND l.type = due.type
     RETURNING due.tenant, due.type, due.latest_subscription_id AS "subscriptionId", due.latest_data AS data,
       due.omitted_count AS "omittedCount"`,
  );
  return rows[0];
}
