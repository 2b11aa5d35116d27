import type { Stack } from './stack.ts';
import { createSubscription, deleteSubscription } from './subscriptions.ts';

const KINDS = ['hanging', 'failing', 'rate-limited'] as const;

/** How many deliveries are pending of each, and how many attempts were made. */
export type Backlog = Readonly<Record<string, { readonly pending: number; readonly attempts: number }>>;

export type SickSubscriptions = {
  /** The subjects of their events, one each. */
  readonly subjects: readonly string[];
  backlog(): Promise<Backlog>;
  delete(): Promise<void>;
};

export type SickOptions = {
  readonly tenant: string;
  /** Part of the event types, so that each block has subscriptions and events of its own. */
  readonly block: string;
  /** Of the endpoints that SICK_ENDPOINTS asks a receiver for. */
  readonly urls: readonly string[];
};

/** The receiver's endpoints, one for each kind of subscription. */
export const SICK_ENDPOINTS = ['hanging', 'failing', 'accepting'] as const;
const LIMIT_PER_SECOND = 10;

export async function createSickSubscriptions(
  stack: Stack,
  { tenant, block, urls: [hanging = '', failing = '', accepting = ''] }: SickOptions,
): Promise<SickSubscriptions> {
  const settings = {
    hanging: { url: hanging },
    failing: { url: failing },
    'rate-limited': { url: accepting, rateLimitPerSecond: LIMIT_PER_SECOND },
  };
  const ids: string[] = [];
  for (const kind of KINDS) {
    ids.push(await createSubscription(stack, { tenant, eventTypes: [`sick.${block}.${kind}`], ...settings[kind] }));
  }
  return {
    subjects: KINDS.map((kind) => `events.${tenant}.sick.${block}.${kind}`),
    backlog: async () => {
      const counts = await Promise.all(ids.map((id) => countOf(stack, id)));
      return Object.fromEntries(KINDS.map((kind, index) => [kind, counts[index] ?? { pending: 0, attempts: 0 }]));
    },
    delete: async () => {
      for (const id of ids) await deleteSubscription(stack, id);
    },
  };
}

async function countOf({ query }: Stack, id: string): Promise<Backlog[string] | undefined> {
  const [row] = await query<{ pending: number; attempts: number }>(
    `SELECT count(*) FILTER (WHERE status = 'PENDING')::integer AS pending,
            coalesce(sum(attempt_count), 0)::integer AS attempts
     FROM deliveries WHERE subscription_id = $1`,
    [id],
  );
  return row;
}
