import type { TestApp, TestServices } from './test-app.ts';
import { waitFor } from './wait-for.ts';

type DeliveryRow = {
  id: string;
  status: string;
  attemptCount: number;
  nextAttemptAt: Date | null;
  waitingFor: string | null;
};

/** A subscription's deliveries in Postgres. */
export async function deliveriesOf({ query }: TestServices, subscriptionId: string): Promise<DeliveryRow[]> {
  return query<DeliveryRow>(
    `SELECT id, status, attempt_count AS "attemptCount", next_attempt_at AS "nextAttemptAt", waiting_for AS "waitingFor"
     FROM deliveries WHERE subscription_id = $1 ORDER BY id`,
    [subscriptionId],
  );
}

export async function deliveryWith(
  services: TestServices,
  subscriptionId: string,
  status: string,
): Promise<DeliveryRow> {
  return waitFor(async () => (await deliveriesOf(services, subscriptionId)).find((row) => row.status === status), {
    what: `a delivery with status ${status}`,
  });
}

const LOG = `query ($filter: DeliveryFilter) { deliveryLog(filter: $filter) { edges { node {
  number status failureReason statusCode responseTimeMs startedAt requestHeaders responseHeaders responseBody
  responseBodyTruncated errorMessage payloadSizeBytes delivery { id status attemptCount nextAttemptAt waitingFor } } } } }`;

type LogEntry = Record<string, unknown> & {
  requestHeaders: Record<string, string>;
  responseHeaders: Record<string, string>;
  responseBody: string;
};

/** A subscription's attempts as the API returns them. */
export async function logOf({ graphql }: TestApp, subscriptionId: string): Promise<LogEntry[]> {
  const variables = { filter: { subscriptionIds: [subscriptionId] } };
  const { deliveryLog } = await graphql<{ deliveryLog: { edges: { node: LogEntry }[] } }>(LOG, variables);
  return deliveryLog.edges.map(({ node }) => node);
}
