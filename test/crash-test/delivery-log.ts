import { uuid7Time } from '../../src/lib/uuid7.ts';
import type { TestPostgres } from '../support/postgres.ts';

/** An attempt in the delivery log; times in milliseconds since 1970. */
export type LoggedAttempt = {
  readonly deliveryId: string;
  readonly attemptNumber: number;
  readonly failureReason: string | null;
  readonly statusCode: number | null;
  readonly errorMessage: string | null;
  readonly startedAt: number;
  readonly endedAt: number;
  /** Time at which the sender created the attempt's id, shortly before the commit. */
  readonly recordedAt: number;
};

export type StoredDelivery = {
  readonly id: string;
  readonly eventId: string;
  readonly endpointUrl: string;
  readonly status: string;
  readonly attemptCount: number;
  /** Reason why the delivery is pending: `circuit`, or the state that ends at a future time. Null if there is none. */
  readonly reason: string | null;
};

export type DeliveryLog = {
  readonly attempts: readonly LoggedAttempt[];
  readonly deliveries: readonly StoredDelivery[];
};

export async function readDeliveryLog({ query }: Pick<TestPostgres, 'query'>): Promise<DeliveryLog> {
  const attempts = await query<Omit<LoggedAttempt, 'recordedAt'> & { readonly id: string }>(ATTEMPTS);
  return {
    attempts: attempts.map(({ id, ...attempt }) => ({ ...attempt, recordedAt: uuid7Time(id) })),
    deliveries: await query<StoredDelivery>(DELIVERIES),
  };
}

const ATTEMPTS = `
  SELECT id, delivery_id AS "deliveryId", number AS "attemptNumber", failure_reason AS "failureReason",
    status_code AS "statusCode", error_message AS "errorMessage", (extract(epoch FROM started_at) * 1000)::float8 AS "startedAt",
    (extract(epoch FROM started_at) * 1000 + response_time_ms)::float8 AS "endedAt"
  FROM attempts`;

const DELIVERIES = `
  SELECT d.id, e.event_id AS "eventId", s.url AS "endpointUrl", d.status, d.attempt_count AS "attemptCount",
    CASE WHEN d.status <> 'PENDING' THEN NULL
      WHEN st.opened_at IS NOT NULL AND st.probe_at IS NOT NULL THEN 'circuit'
      WHEN d.waiting_for IS NOT NULL AND d.next_attempt_at > now() THEN d.waiting_for::text
    END AS reason
  FROM deliveries d JOIN events e ON e.id = d.event_id JOIN webhook_subscriptions s ON s.id = d.subscription_id
    JOIN subscription_states st ON st.subscription_id = d.subscription_id`;
